"""The samples that may not be neighbors of each other."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Which columns may not be neighbors of these rows: row numbers (n,) in, (n, M) out.
Exclusion = Callable[[np.ndarray], Any]
