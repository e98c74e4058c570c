"""The scores of a pair and their plan, held in memory or formed by blocks of rows.

Scores are affinities in units of epsilon. One set of potentials of the columns,
`anchor + log_scaling` (T,), determines all: the plan is ``row_mass * softmax(scores +
anchor + log_scaling)``, whose row sums are right up to rounding.

At a small epsilon scores and potentials are large numbers, of which float32 keeps few
digits behind the point. The `anchor` is rounded once and for all, which is as if the
affinity were rounded; `log_scaling`, what it lacks, is small and keeps its digits.

`HeldScores` and `StreamedScores` have one interface: `over_rows` to evaluate a function
of the rows, `column_sums`, `advance` for a step of the iteration, and `walk` for the
linear system of its derivative. `StreamedScores` keeps nothing of the size of the plan,
forward and backward.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax._affinity import token_products
from semrsm_jax.matching.bounds import row_blocks

# Iterations on one kernel matrix; the temperature falls once in as many.
CYCLE = 10

# How far, in logarithms, a scaling may go within a cycle: what the kernel matrix lost
# to underflow (below e^-87) then still weighs nothing.
_FARTHEST = 40.0


class ScoreRows(NamedTuple):
    """Some rows of the scores; any leading axes are a batch of pairs."""

    scores: Float[Array, "*batch R T"]
    row_mass: Float[Array, "*batch R"]  # sums the plan's rows shall have; 0: masked
    column_mass: Float[Array, "*batch T"]  # sums its columns shall have; 0: masked
    anchor: Float[Array, "*batch T"]  # the columns' potentials, but for `log_scaling`

    def plan(self, log_scaling: Array, temperature: Array | float = 1.0) -> Array:
        """These rows of the plan (..., R, T)."""
        weights, total, _ = self._softmax(log_scaling, temperature)
        return weights * (self.row_mass[..., None] / total)

    def log_scaling(self, log_scaling: Array) -> Array:
        """The rows' potentials (..., R), log(plan) = scores + all; 0 if masked."""
        _, total, peak = self._softmax(log_scaling, 1.0)
        logs = (jnp.log(total) + peak)[..., 0]
        present = self.row_mass > 0
        mass = jnp.where(present, self.row_mass, 1)
        return jnp.where(present, jnp.log(mass) - logs, 0)

    def best(self, log_scaling: Array) -> Array:
        """Each row's best score with these potentials (..., R), its c-transform."""
        exponents, best = self._anchored()
        return jnp.max(exponents + log_scaling[..., None, :], axis=-1) + best[..., 0]

    def _softmax(self, log_scaling: Array, temperature: Array | float):
        """Unnormalized weights, their sum, and the logarithm that they lack."""
        temperature = jnp.asarray(temperature)[..., None, None]
        exponents, best = self._anchored()
        exponents = (exponents + log_scaling[..., None, :]) / temperature
        peak = jax.lax.stop_gradient(jnp.max(exponents, axis=-1, keepdims=True))
        weights = jnp.exp(exponents - peak)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        return weights, total, peak + best / temperature

    def _anchored(self) -> tuple[Array, Array]:
        """Scores and anchor less their best of each row, and that best (..., R, 1)."""
        exponents = self.scores + self.anchor[..., None, :]
        exponents = jnp.where(self.column_mass[..., None, :] > 0, exponents, -jnp.inf)
        best = jax.lax.stop_gradient(jnp.max(exponents, axis=-1, keepdims=True))
        return exponents - best, best


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HeldScores:
    """All scores in memory; any leading axes are a batch of pairs."""

    rows: ScoreRows

    stride: ClassVar[int] = CYCLE  # iterations that `advance` makes

    @property
    def column_mass(self) -> Array:
        """The sums that the plan's columns shall have."""
        return self.rows.column_mass

    @property
    def anchor(self) -> Array:
        """The columns' potentials, but for `log_scaling`."""
        return self.rows.anchor

    def at(self, anchor: Array) -> "HeldScores":
        """The same scores with another anchor."""
        return HeldScores(self.rows._replace(anchor=anchor))

    def over_rows(self, function: Callable[..., Any], *by_row: Array, **_: Any) -> Any:
        """The function of all rows, see `StreamedScores.over_rows`; of one pair."""
        return function(self.rows, *by_row)

    def column_sums(
        self, log_scaling: Array, temperature: Array | float = 1.0
    ) -> Array:
        """The sums of the plan's columns."""
        return jnp.sum(self.rows.plan(log_scaling, temperature), axis=-2)

    def advance(self, log_scaling: Array, temperature: Array) -> tuple[Array, Array]:
        """The column sums, and the potentials a cycle of iterations later.

        The plan of the potentials so far serves as a kernel matrix: two products with a
        vector an iteration instead of two passes of exponentials (stabilized scaling,
        Schmitzer 2019).
        """
        kernel = self.rows.plan(log_scaling, temperature)
        sums = jnp.sum(kernel, axis=-2)
        first = log_ratio(self.column_mass, sums)

        def iterate(_, scaling):
            left = jnp.einsum("...st,...t->...s", kernel, scaling)
            left = _ratio(self.rows.row_mass, left)
            right = jnp.einsum("...st,...s->...t", kernel, left)
            return _ratio(self.column_mass, right)

        logs = jnp.log(jax.lax.fori_loop(1, CYCLE, iterate, jnp.exp(first)))
        safe = jnp.all(jnp.abs(logs) < _FARTHEST, axis=-1, keepdims=True)
        # A scaling that went too far for the kernel matrix: one iteration is valid.
        change = jnp.where(safe, logs, first)
        return sums, log_scaling + temperature[..., None] * change

    def walk(
        self, log_scaling: Array, temperature: Array | float = 1.0
    ) -> Callable[[Array], Array]:
        """Returns z -> P' diag(1 / row_mass) P z for the plan P of one pair."""
        plan = self.rows.plan(log_scaling, temperature)
        return partial(_walk_step, plan, self.rows.row_mass)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StreamedScores:
    """Scores of one pair that are formed from its tokens, `size` rows at a time."""

    x: Float[Array, "S C"]  # in units of epsilon
    y: Float[Array, "T C"]
    row_mass: Float[Array, " S"]
    column_mass: Float[Array, " T"]
    anchor: Float[Array, " T"]
    size: int = field(metadata={"static": True})

    stride: ClassVar[int] = 1  # iterations that `advance` makes

    def at(self, anchor: Array) -> "StreamedScores":
        """The same scores with another anchor."""
        return replace(self, anchor=anchor)

    def over_rows(
        self,
        function: Callable[..., tuple[Any, Any]],
        *by_row: Float[Array, "S ..."],
        combine: Callable[[Array, Array], Array] = jnp.add,
        start: float = 0.0,
    ) -> tuple[Any, Any]:
        """Evaluates a function block by block; derivatives form each block again.

        It takes the `ScoreRows` of a block and its part of `by_row`, arrays (S, ...),
        and returns arrays to be combined over blocks, from `start` on, and arrays with
        a first axis of rows to be joined. Rows that fill the last block up have mass 0.
        """

        @partial(jax.checkpoint, prevent_cse=False)
        def of_block(x, row_mass, *by_row):
            scores = token_products(x, self.y)
            rows = ScoreRows(scores, row_mass, self.column_mass, self.anchor)
            return function(rows, *by_row)

        def step(total, block):
            combined, joined = of_block(*block)
            return jax.tree.map(combine, total, combined), joined

        arrays = (self.x, self.row_mass, *by_row)
        blocks = tuple(row_blocks(array, self.size, 0) for array in arrays)
        shapes, _ = jax.eval_shape(of_block, *(array[0] for array in blocks))
        initial = jax.tree.map(lambda a: jnp.full(a.shape, start, a.dtype), shapes)
        combined, joined = jax.lax.scan(step, initial, blocks)
        count = self.x.shape[0]
        joined = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], joined)
        return combined, joined

    def column_sums(
        self, log_scaling: Array, temperature: Array | float = 1.0
    ) -> Array:
        """The sums of the plan's columns."""

        def of_rows(rows):
            return jnp.sum(rows.plan(log_scaling, temperature), axis=0), ()

        return self.over_rows(of_rows)[0]

    def advance(self, log_scaling: Array, temperature: Array) -> tuple[Array, Array]:
        """The column sums, and the potentials one iteration later."""
        sums = self.column_sums(log_scaling, temperature)
        return sums, log_scaling + temperature * log_ratio(self.column_mass, sums)

    def walk(
        self, log_scaling: Array, temperature: Array | float = 1.0
    ) -> Callable[[Array], Array]:
        """Returns z -> P' diag(1 / row_mass) P z; each call forms the plan P anew."""

        def apply(z):
            def of_rows(rows):
                plan = rows.plan(log_scaling, temperature)
                return _walk_step(plan, rows.row_mass, z), ()

            return self.over_rows(of_rows)[0]

        return apply


Scores = HeldScores | StreamedScores


def divide(numerator: Array | float, denominator: Array) -> Array:
    """The quotient, and 0 where the denominator, of a masked token, is 0."""
    present = denominator > 0
    return jnp.where(present, numerator / jnp.where(present, denominator, 1), 0)


def log_ratio(mass: Array, sums: Array) -> Array:
    """The logarithm of what the sums lack; 0 where the mass is 0."""
    # A column that no row prefers may sum to zero: it then rises as far as possible.
    tiny = jnp.finfo(sums.dtype).tiny
    present = mass > 0
    mass = jnp.where(present, mass, 1)
    sums = jnp.where(present, jnp.maximum(sums, tiny), 1)
    return jnp.log(mass / sums)


def _ratio(mass: Array, sums: Array) -> Array:
    """What the sums lack as a factor; 1 where the mass is 0."""
    return jnp.where(mass > 0, mass / sums, 1)


def _walk_step(plan: Array, row_mass: Array, z: Array) -> Array:
    """From columns to rows and back to columns, by the plan with normalized rows."""
    return divide(plan @ z, row_mass) @ plan
