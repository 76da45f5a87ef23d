"""A receiver, and a gateway whose webhooks are quick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Receiver, receiving
from tests.gateway.webhooks.world import QUICK


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def running(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, request: Any
) -> AsyncIterator[Running]:
    """A test may ask for settings of its own."""
    more = QUICK | getattr(request, "param", {})
    async with serving(settings_for(nats_url, tmp_path, **more), reads) as made:
        await until_ready(made)
        yield made
