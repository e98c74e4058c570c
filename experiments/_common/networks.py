"""Moved to `experiments.frame.networks`."""

from experiments.frame.networks import Images as Images
from experiments.frame.networks import Network as Network
from experiments.frame.networks import Published as Published
from experiments.frame.networks import Shipped as Shipped
from experiments.frame.networks import Tokens as Tokens
from experiments.frame.networks import Untrained as Untrained
