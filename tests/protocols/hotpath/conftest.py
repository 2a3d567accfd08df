"""Every test here runs for each protocol and each kernel that it asks for."""

import pytest

from lab.corpus import CORPORA, PATHS, Corpus
from protocols.hotpath.kernels import Path


@pytest.fixture(params=CORPORA)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    """Each protocol's frames."""
    return CORPORA[request.param]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Path:
    """Each kernel that there is."""
    found: Path = request.param
    return found
