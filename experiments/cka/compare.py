"""The comparisons of Appendix G, read off the CKA of all RSMs with each other."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.cka.config import CKAConfig, Part
from experiments.cka.measure import (
    ESTIMATORS,
    SEMANTIC,
    SPATIO,
    Network,
    alike,
    network_rsms,
)
from experiments.data.photographs import between_photographs
from experiments.frame.finding import Number, number
from experiments.frame.session import Session
from semrsm_jax import CKA, bootstrap_interval, difference_test

# What is compared: both kinds of RSMs of one network (Fig. 15), layers of one network
# (Fig. 16), and layers of two (Fig. 17).
KINDS, WITHIN, ACROSS = "kinds", "within", "across"
BOTH = f"{SEMANTIC} with {SPATIO}"
DIFFERENCE = "difference"


class Comparison(NamedTuple):
    """CKA between layers, averaged over networks that differ in their seed alone.

    Attributes:
      part: the images.
      what: `KINDS`, `WITHIN` or `ACROSS`.
      titles: the architecture of the rows, and that of the columns.
      kernel: of the RSMs.
      networks: the networks, or pairs of them, that were averaged over.
      rows: layers of the rows, by depth; of `KINDS` they have semantic RSMs.
      columns: layers of the columns; of `KINDS` they have spatio-semantic RSMs.
      tokens: of each layer of the rows, S, and of the columns.
      accuracy: mean share of the images whose class the networks of the rows name, and
        those of the columns; NaN where none is known.
      cka: kind of the RSMs, or `DIFFERENCE`, semantic less spatio-semantic -> name of
        the estimator -> (rows, columns).
      intervals: a network or a pair -> row and column -> the interval of the unbiased
        estimate of `BOTH`, or else of the difference, over images.
    """

    part: str
    what: str
    titles: tuple[str, str]
    kernel: str
    networks: tuple[tuple[str, str], ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    tokens: tuple[tuple[int, ...], tuple[int, ...]]
    accuracy: tuple[float, float]
    cka: Mapping[str, Mapping[str, Float[np.ndarray, "L M"]]]
    intervals: Mapping[tuple[str, str], Mapping[tuple[int, int], Number]]


def comparisons(config: CKAConfig, session: Session = Session()) -> list[Comparison]:
    """Computes what is missing, and compares: each part, first kinds, then layers."""
    compared = []
    for part in config.parts:
        networks = {
            name: network_rsms(config, part, name, session) for name in part.networks
        }
        for kernel in config.kernels:
            cka = alike(config, part, kernel, networks, session)
            rsms = _RSMs(config, part, kernel, networks, cka, session)
            compared += [rsms.compared(*asked) for asked in _asked(part, kernel)]
    return compared


def _asked(
    part: Part, kernel: str
) -> Iterator[tuple[str, tuple[str, str], list[tuple[str, str]]]]:
    """What is compared, the titles, and the networks, in pairs."""
    architectures = {each.name: each.networks for each in part.architectures}
    same = {name: [(n, n) for n in seeds] for name, seeds in architectures.items()}
    for name, pairs in same.items():
        yield KINDS, (name, name), pairs
    if kernel != "linear":
        return
    for name, pairs in same.items():
        yield WITHIN, (name, name), pairs
    for name, seeds in architectures.items():
        if len(seeds) > 1:
            pairs = list(itertools.combinations(seeds, 2))
            yield ACROSS, (name, f"{name}, another seed"), pairs
    for one, other in part.across:
        pair = architectures[one][0], architectures[other][0]
        yield ACROSS, (one, other), [pair]


class _RSMs(NamedTuple):
    """All RSMs of a part under a kernel."""

    config: CKAConfig
    part: Part
    kernel: str
    networks: Mapping[str, Network]
    cka: Mapping[str, Float[np.ndarray, "R R"]]
    session: Session

    def compared(
        self, what: str, titles: tuple[str, str], pairs: Sequence[tuple[str, str]]
    ) -> Comparison:
        first, second = (self.networks[name] for name in pairs[0])
        one, other = (
            float(np.mean([self.networks[name].accuracy for name in side]))
            for side in zip(*pairs, strict=True)
        )
        return Comparison(
            self.part.name,
            what,
            titles,
            self.kernel,
            tuple(pairs),
            first.layers,
            second.layers,
            (first.tokens, second.tokens),
            (one, other),
            self._matrices(what, pairs),
            {pair: self._intervals(what, pair) for pair in pairs},
        )

    def _matrices(
        self, what: str, pairs: Sequence[tuple[str, str]]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Averages over the pairs, as `Comparison.cka` has them."""
        matrices: dict[str, dict[str, np.ndarray]] = {}
        for name, kinds in _KINDS_OF[what].items():
            matrices[name] = {
                estimator: np.mean(
                    [self._between(pair, kinds, estimator) for pair in pairs], axis=0
                )
                for estimator in ESTIMATORS
            }
        if what != KINDS:
            matrices[DIFFERENCE] = {
                estimator: matrices[SEMANTIC][estimator] - matrices[SPATIO][estimator]
                for estimator in ESTIMATORS
            }
        return matrices

    def _between(
        self, pair: tuple[str, str], kinds: tuple[str, str], estimator: str
    ) -> np.ndarray:
        """CKA of the layers of two networks, each by RSMs of one kind."""
        return self.cka[estimator][tuple(map(self._place, pair, kinds))]

    def _place(self, network: str, kind: str) -> slice:
        names = list(self.networks)
        depths = [len(each.layers) for each in self.networks.values()]
        place = names.index(network)
        start = 2 * sum(depths[:place]) + (depths[place] if kind == SEMANTIC else 0)
        return slice(start, start + depths[place])

    def _intervals(
        self, what: str, pair: tuple[str, str]
    ) -> dict[tuple[int, int], Number]:
        depths = [len(self.networks[name].layers) for name in pair]
        cells = _cells(what, *depths)

        def compute() -> dict[str, np.ndarray]:
            self.session.report(f"Intervals of {' and '.join(pair)}", 0, None)
            return {"ends": np.array([self._interval(what, pair, c) for c in cells])}

        name = f"{self.part.name}/intervals/{self.kernel}/{what}/{'--'.join(pair)}"
        ends = self.session.step(name, compute)["ends"]
        return {
            cell: Number(*map(float, interval))
            for cell, interval in zip(cells, ends, strict=True)
        }

    def _interval(
        self, what: str, pair: tuple[str, str], cell: tuple[int, int]
    ) -> Number:
        """By the images of the first batch, for the value of all batches."""
        settings: Any = {"key": self.config.seed, "resamples": self.config.resamples}
        settings |= between_photographs(self.networks[pair[0]].groups)
        share = self.part.batch / self.part.samples
        sides: list[tuple[np.ndarray, np.ndarray]] = []
        values: list[float] = []
        (one, other), (row, column) = pair, cell
        for kinds in _KINDS_OF[what].values():
            K = self._rsm(one, kinds[0], row)
            sides.append((K, self._rsm(other, kinds[1], column)))
            values.append(float(self._between(pair, kinds, "unbiased")[cell]))
        if what == KINDS:
            interval = bootstrap_interval(*sides[0], CKA(), **settings)
            return number(interval.scaled(values[0], share))
        spatio, semantic = sides
        test = difference_test(semantic, spatio, CKA(), **settings)
        return number(test.interval.scaled(values[1] - values[0], share))

    def _rsm(self, network: str, kind: str, layer: int) -> np.ndarray:
        kinds = (SPATIO, SEMANTIC)
        return self.networks[network].rsms[self.kernel][kinds.index(kind), layer, 0]


# The kinds of RSMs of rows and columns.
_KINDS_OF: Mapping[str, Mapping[str, tuple[str, str]]] = {
    KINDS: {BOTH: (SEMANTIC, SPATIO)},
    WITHIN: {SPATIO: (SPATIO, SPATIO), SEMANTIC: (SEMANTIC, SEMANTIC)},
    ACROSS: {SPATIO: (SPATIO, SPATIO), SEMANTIC: (SEMANTIC, SEMANTIC)},
}


def _cells(what: str, rows: int, columns: int) -> list[tuple[int, int]]:
    """The rows and columns that have an interval.

    Of both kinds the layer itself; within a network the next layer; across networks the
    same layer, or where they differ in depth the first and the last.
    """
    if what == WITHIN:
        return [(layer, layer + 1) for layer in range(rows - 1)]
    if rows == columns:
        return [(layer, layer) for layer in range(rows)]
    return [(0, 0), (rows - 1, columns - 1)]
