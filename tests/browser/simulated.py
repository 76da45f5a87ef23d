"""One simulator for all tests of browsers, in the modules that import the fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.simulator.process import simulator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a running simulator. Every test starts from an empty one."""
    knobs = {"boot_ms": 0, "sync_ms": 50, "gap_ms": 20, "filler": 100, "ack_ms": [5, 20, 40]}
    async with simulator(tmp_path_factory.mktemp("simulator"), **knobs) as running:
        yield running.url
