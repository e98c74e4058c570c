"""Cases of a parametrized test that run in the CI only, or before a release only."""

from functools import partial

import pytest

slow = partial(pytest.param, marks=pytest.mark.slow)
long = partial(pytest.param, marks=pytest.mark.long)


def with_long(cases, *late):
    """All cases; those named in `late` before a release only."""
    assert set(late) <= set(cases)
    return [long(case) if case in late else case for case in cases]
