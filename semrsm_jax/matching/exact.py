"""Exact matching, Eq. 4 and 5."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from semrsm_jax._affinity import token_products
from semrsm_jax.matching import _host
from semrsm_jax.matching.assignment import check_solver, solve
from semrsm_jax.matching.base import (
    HostSolver,
    Mask,
    Matcher,
    Matching,
    Tokens,
    hard_matching,
)


@dataclass(frozen=True)
class Exact(Matcher[Matching]):
    """The matching of largest inner product, proven, Eq. 4.

    Attributes:
      tolerance: relative gap between value and proven bound at which the auction may
        stop; 0.0 asks for a provably optimal matching.
      solver: as in `linear_assignment`.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Exact, rsm
      >>> x = np.array([[[3.0, 0], [0, 2]], [[0, 1], [3, 0]]])
      >>> print(rsm(x, matcher=Exact(tolerance=0.0)))  # to the last digit
      [[13. 11.]
       [11. 10.]]
    """

    symmetric: ClassVar[bool] = True
    self_is_identity: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True
    by_rows: ClassVar[bool] = True

    tolerance: float = 1e-6
    solver: str = "auction"

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for an option of the solver out of range."""
        tolerance = check_solver(self.solver, self.tolerance)
        object.__setattr__(self, "tolerance", tolerance)

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Solves the assignment of the full affinity."""
        if x_mask is not None:
            x_mask = jnp.broadcast_to(x_mask, (*y.shape[:-2], x.shape[-2]))
        permutation, bound, _ = solve(
            token_products(x, y),
            x_mask,
            y_mask,
            tolerance=self.tolerance,
            solver=self.solver,
        )
        return hard_matching(x, y, permutation, bound)

    def host_solver(self) -> HostSolver | None:
        """The auction; the other solvers are matched in batches."""
        return _host.auction(self.tolerance) if self.solver == "auction" else None
