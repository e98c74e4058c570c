"""Moved to `experiments.frame.worker`."""

from experiments.frame.worker import Outcome as Outcome
from experiments.frame.worker import Report as Report
from experiments.frame.worker import peak_memory as peak_memory
from experiments.frame.worker import usable_cores as usable_cores
from experiments.frame.worker import worker as worker
