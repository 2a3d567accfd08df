"""What the tests of protocols share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is timed is not stopped by the collection of what thousands of other tests have left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
