"""How the matrix (N, M) of a run is cut into tiles."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from semrsm_jax.pairs.selection import Pairs


class Tile(NamedTuple):
    """The place of a tile: its row and its column in the grid of tiles."""

    row: int
    column: int

    @property
    def mirrored(self) -> "Tile":
        """The tile across the diagonal."""
        return Tile(self.column, self.row)


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a matrix.

    Attributes:
      rows: N, samples of x.
      columns: M, samples of y.
      side: rows and columns of a tile; those at the far ends may be smaller.
      triangle: only tiles on and above the diagonal are computed, the others mirrored.
      diagonal: whether a sample is matched with itself, where y is x.
    """

    rows: int
    columns: int
    side: int
    triangle: bool
    diagonal: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.rows // self.side), -(-self.columns // self.side)

    def __iter__(self) -> Iterator[Tile]:
        """The tiles to compute, row by row, so that neighbors share their rows."""
        rows, columns = self.shape
        for row in range(rows):
            for column in range(row if self.triangle else 0, columns):
                yield Tile(row, column)

    def all(self) -> Iterator[Tile]:
        """The tiles to compute and the mirrored ones."""
        rows, columns = self.shape
        return (Tile(i, j) for i in range(rows) for j in range(columns))

    def written_with(self, tile: Tile) -> tuple[Tile, ...]:
        """What one computed tile fills: itself, last, and its mirror image."""
        if self.triangle and tile.row != tile.column:
            return tile.mirrored, tile
        return (tile,)

    def x_rows(self, tile: Tile) -> slice:
        """The samples of x in a tile."""
        start = tile.row * self.side
        return slice(start, min(start + self.side, self.rows))

    def y_rows(self, tile: Tile) -> slice:
        """The samples of y in a tile."""
        start = tile.column * self.side
        return slice(start, min(start + self.side, self.columns))

    @cached_property
    def _pair_counts(self) -> Counter[int]:
        """How many tiles have how many pairs."""
        return Counter(self.pairs(tile).count for tile in self)

    @property
    def pair_count(self) -> int:
        """How many pairs are matched in all."""
        return sum(pairs * tiles for pairs, tiles in self._pair_counts.items())

    def chunk_size(self, most: int) -> int:
        """Pairs at once, at most so many, such that few chunks are not full.

        All tiles take the same, for one compilation.
        """
        most = min(most, max(max(self._pair_counts), 1))

        def empty(size: int) -> int:
            counts = self._pair_counts.items()
            return sum(-pairs % size * tiles for pairs, tiles in counts)

        return min(range(-(-3 * most // 4), most + 1), key=lambda s: (empty(s), -s))

    def pairs(self, tile: Tile) -> Pairs:
        """The pairs to match in a tile."""
        x, y = self.x_rows(tile), self.y_rows(tile)
        itself = tile.row == tile.column
        return Pairs(
            x.stop - x.start,
            y.stop - y.start,
            triangle=self.triangle and itself,
            diagonal=self.diagonal or not itself,
        )
