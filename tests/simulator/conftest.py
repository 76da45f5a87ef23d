"""Fixtures of the simulator's own tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.simulator.browser import CHROMIUM, Tab, chromium
from tests.simulator.process import Simulator, simulator

# As fast as it still makes sense: the tests that are about slowness turn these back.
QUICK = {"boot_ms": 20, "sync_ms": 50, "gap_ms": 20, "filler": 200, "ack_ms": [10, 20, 20]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium there is nothing to drive."""
    if CHROMIUM.exists():
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"there is no {CHROMIUM}"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Simulator]:
    """A simulator with quick pages."""
    async with simulator(tmp_path / "simulator", **QUICK) as running:
        yield running


@pytest.fixture
async def tab(server: Simulator, tmp_path: Path) -> AsyncIterator[Tab]:
    """A page with wa-js, at the QR code or on the way to it."""
    async with chromium(server, tmp_path / "profile") as browser:
        yield await browser.tab()
