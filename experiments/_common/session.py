"""Moved to `experiments.frame.session`."""

from experiments.frame.session import Arrays as Arrays
from experiments.frame.session import Session as Session
from experiments.frame.session import fingerprint as fingerprint
from experiments.frame.session import silent as silent
