"""A network of torch as users write them, its images, and layers of one function."""

import numpy as np
import pytest
from networks import pixels

torch = pytest.importorskip("torch")


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Function(torch.nn.Module):
    """A layer of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(torch.nn.Module):
    """What users write: sharing, tuples, dicts, random layers, statistics."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = Block(), Block()
        self.norm = torch.nn.BatchNorm2d(3)
        self.drop = torch.nn.Dropout(0.5)
        # Gives its state behind something else, as transformers' layers do.
        self.several = Function(lambda x: {"loss": None, "state": x + 1, "weights": x})
        self.permuted = Function(lambda x: x.permute(1, 0, 2, 3))
        self.lstm = torch.nn.LSTM(3, 4, batch_first=True)
        self.unused = torch.nn.Linear(1, 1)
        self.head = torch.nn.Linear(4, 2)
        self.batches = []

    def forward(self, pixels):
        self.batches.append(tuple(pixels.shape))
        x = self.drop(self.norm(self.shared(self.shared(self.first(pixels)))))
        x = self.several(x)["state"]
        self.permuted(x)
        x, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return self.head(x.mean(1))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pixels((6, 7), 5)


def after_convolution(*functions) -> "torch.nn.Module":
    """A map of 5 channels, then functions; layers are named "0", "1", ..."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 5, 1)
    return torch.nn.Sequential(convolution, *map(Function, functions))
