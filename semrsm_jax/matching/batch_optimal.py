"""Batch-Optimal matching: exact within windows of similar token norm, Appendix F."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from semrsm_jax import _checks
from semrsm_jax.matching._refinement import principal_directions, refine
from semrsm_jax.matching._windows import norm_windows, scatter, solve_windows
from semrsm_jax.matching.assignment import check_solver
from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Shape,
    Tokens,
    better_of,
    hard_matching,
    norm_bound,
)
from semrsm_jax.matching.identity import Identity


@dataclass(frozen=True)
class BatchOptimal(Matcher[Matching]):
    """Sorts both sides by token norm and matches window by window, Appendix F.3.

    Cost and memory are linear in the number of tokens: only the window blocks of the
    affinity are ever built. Samples of at most `window` tokens are matched exactly. The
    upper bound is then the proven one, else that of the token norms.

    Where the samples differ in their number of (unmasked) tokens, the windows of the
    smaller one shrink in proportion.

    Attributes:
      window: tokens a window, b in the paper.
      sweeps: how often the matching is refined afterwards: matched pairs that look
        alike are gathered in new windows and matched anew. The value never falls, and
        each sweep costs as much as the windows. 0 is the paper's algorithm.
      tolerance: of the matching within a window, as in `Exact`.
      solver: of the matching within a window, as in `Exact`.
      floor: ``"identity"`` keeps, pair by pair, the better of this matching and that of
        position with position, which can win where images are nearly aligned; samples
        then need the same number of tokens. None: the matching as it is.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import BatchOptimal, Exact, match
      >>> x, y = np.random.default_rng(0).normal(size=(2, 64, 8)).astype("float32")
      >>> best = match(x, y, matcher=Exact()).value
      >>> windows, refined = (
      ...     match(x, y, matcher=BatchOptimal(window=16, sweeps=sweeps)).value
      ...     for sweeps in (0, 8)
      ... )
      >>> bool(windows < refined <= best)
      True
    """

    symmetric: ClassVar[bool] = True
    self_is_identity: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    window: int = 512
    sweeps: int = 0
    tolerance: float = 1e-6
    solver: str = "auction"
    floor: str | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of range."""
        _checks.at_least("window", self.window, 1)
        _checks.at_least("sweeps", self.sweeps, 0)
        if self.floor is not None:
            _checks.one_of("floor", self.floor, ("identity",))
        tolerance = check_solver(self.solver, self.tolerance)
        object.__setattr__(self, "tolerance", tolerance)

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Solves the window blocks of the affinity as one batch, then refines."""
        settings = {"tolerance": self.tolerance, "solver": self.solver}
        fixed_x, fixed_y = jax.lax.stop_gradient((x, y))
        windows = norm_windows(fixed_x, fixed_y, x_mask, y_mask, size=self.window)
        local, bound = solve_windows(fixed_x, fixed_y, windows, **settings)
        permutation = scatter(windows, local, x[..., 0])
        single = windows.x_index.shape[-2] == 1
        sweeps = 0 if single else self.sweeps
        if sweeps:
            directions = principal_directions(fixed_x, fixed_y, x_mask, y_mask)
        for sweep in range(sweeps):
            permutation = refine(
                fixed_x,
                fixed_y,
                x_mask,
                y_mask,
                permutation,
                directions,
                size=self.window,
                sweep=sweep,
                **settings,
            )
        bound = bound[..., 0] if single else norm_bound(x, y, x_mask, y_mask)
        matching = hard_matching(x, y, permutation, bound)
        if self.floor is None:
            return matching
        return better_of(matching, Identity().pair(x, y, x_mask, y_mask))

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where the floor cannot be taken."""
        if self.floor is not None:
            Identity().validate(x_shape, y_shape)

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The window blocks and the sorted tokens."""
        longest = max(x_tokens, y_tokens)
        size = min(self.window, longest)
        return -(-longest // size) * size * (size + 2 * channels)
