"""A hundred sessions and fifty events a second: the page stays quick, and does not grow."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from pathlib import Path

import pytest

from events.subjects import SessionId
from tests.console.person import Person
from tests.gateway.conftest import KEY, scripted, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads

SECONDS = float(os.environ.get("CONSOLE_SECONDS", "600"))
RATE = 50
SESSIONS = 100
PLACES = ("events", "overview", "sessions", "sessions/user0-bot1")
LONGEST_TASK = 100
"""Milliseconds for which the page may be deaf."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(SECONDS + 300),
    pytest.mark.asyncio(loop_scope="module"),
]


async def test_the_page_stays_quick_and_flat(
    person: Person, nats_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = FakeReads()
    settings = settings_for(nats_url, tmp_path)
    async with scripted(settings, reads) as node, serving(settings, reads) as gateway:
        await until_ready(gateway)
        sessions = [SessionId(f"user{n // 5}", f"bot{n % 5}") for n in range(SESSIONS)]
        for session in sessions:
            await node.ready(session)
        await person.sit(f"{gateway.url}/")
        await person.log_in(KEY)
        pouring = asyncio.create_task(_pour(node, sessions))

        weights: list[float] = []
        ends = time.monotonic() + SECONDS
        for place in itertools.cycle(PLACES):
            await person.do("go", url=f"{gateway.url}/#/{place}")
            await asyncio.sleep(min(15.0, SECONDS / 12))
            weights.append(await person.do("weigh"))
            if time.monotonic() > ends:
                break
        pouring.cancel()
        poured = await asyncio.gather(pouring, return_exceptions=True)
        tasks: list[tuple[str, int]] = await person.do("tasks")

    longest = max((took for _, took in tasks), default=0)
    third = len(weights) // 3
    early, late = (statistics.mean(part) for part in (weights[third : 2 * third], weights[-third:]))
    with capsys.disabled():
        print(
            f"\n{SECONDS:.0f} s at {RATE} events/s: {len(tasks)} long tasks, the longest "
            f"{longest} ms; heap {early / 2**20:.1f} MB, then "
            f"{late / 2**20:.1f} MB; {sorted(tasks, key=lambda task: -task[1])[:12]}"
        )
    assert isinstance(poured[0], asyncio.CancelledError), "not everything was poured"
    assert longest < LONGEST_TASK
    assert late < early * 1.15


async def _pour(node: ScriptedNode, sessions: list[SessionId]) -> None:
    began = time.monotonic()
    for number, session in enumerate(itertools.cycle(sessions)):
        await node.message(session, received(f"message {number}"))
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
