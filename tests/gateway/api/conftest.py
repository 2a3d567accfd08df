"""A whole gateway in this process, with its API on a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.server import Serving, serving
from gateway.settings import Settings


@pytest.fixture
async def under_way(tmp_path: Path) -> AsyncIterator[Serving]:
    settings = Settings(data=tmp_path / "data", http="127.0.0.1:0", mqtt_port=0)
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def stranger(under_way: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with httpx2.AsyncClient(base_url=under_way.url, timeout=30) as client:
        yield client


@pytest.fixture
async def api(under_way: Serving, stranger: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A client with the token that stands in the data folder."""
    token = under_way.gateway.settings.token_path.read_text().strip()
    stranger.headers["Authorization"] = f"Bearer {token}"
    return stranger
