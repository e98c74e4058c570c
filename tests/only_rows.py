"""An array of which rows alone are read, a few at a time."""


class OnlyRows:
    """The least that an array on disk offers.

    Attributes:
      most: rows that were read at once.
    """

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.most = 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        block = self.array[rows]
        self.most = max(self.most, len(block))
        return block
