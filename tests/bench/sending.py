"""The way of a send through the service, stage by stage, and what the gateway answers a second."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import aiohttp

from events.subjects import SessionId
from gateway.stages import STAGES
from tests.bench.rows import Row, Say
from tests.faults.site import KEY, Site, a_site

SENDS = 60
READERS = 50
READING = 5.0
"""Seconds in which status is read."""

VARIABLES = {"SENDS_PER_MINUTE": "0", "SENDS_PER_SECOND": "0", "LOG_LEVEL": "warning"}
_SUM = re.compile(r'wa_send_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)')


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Send one after the other, one session; then read status with many connections."""
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    whole: list[float] = []
    reads: list[float] = []
    async with a_site(home, 2, {"node": "actors"}, **VARIABLES) as site:
        session = next(iter(site.sessions))
        for _ in range(runs):
            before = await _sums(site)
            whole.append(await _sends(site, session))
            after = await _sums(site)
            for stage in STAGES:
                spent, count = (a - b for a, b in zip(after[stage], before[stage], strict=True))
                stages[stage].append(1_000 * spent / count)
            reads.append(await _reads(site, session))
            say(f"sending: {whole[-1]:.1f} ms a send, {reads[-1]:.0f} status reads a second")
    total = sum(sorted(each)[len(each) // 2] for each in stages.values())
    rows = [
        Row(f"send, {stage} ({sorted(took)[len(took) // 2] / total:.0%})", "ms", took)
        for stage, took in stages.items()
    ]
    return [
        *rows,
        Row("send, HTTP request to answer (mean)", "ms", whole),
        Row("status reads, 50 connections", "a second", reads),
    ]


async def _sends(site: Site, session: SessionId) -> float:
    """Return the mean time of a send over HTTP, in ms."""
    took = 0.0
    for number in range(SENDS):
        body = {"sessionId": session.joined, "to": "16660000000", "message": f"bench {number}"}
        began = time.perf_counter()
        answer = await site.http.post("/api/messages/send", json=body)
        took += time.perf_counter() - began
        assert answer.status_code == 200, answer.text
    # The last stages are noted as their events come by.
    await asyncio.sleep(0.5)
    return 1_000 * took / SENDS


async def _sums(site: Site) -> dict[str, tuple[float, float]]:
    """Read seconds and sends of each stage so far."""
    found: dict[str, dict[str, float]] = {stage: {"sum": 0.0, "count": 0.0} for stage in STAGES}
    for which, stage, value in _SUM.findall((await site.http.get("/metrics")).text):
        found[stage][which] = float(value)
    return {stage: (held["sum"], held["count"]) for stage, held in found.items()}


async def _reads(site: Site, session: SessionId) -> float:
    """Return how many status reads are answered in a second."""
    path = f"/api/sessions/{session.joined}/status"
    answered = 0
    over = time.monotonic() + READING

    async def reader(http: aiohttp.ClientSession) -> None:
        nonlocal answered
        while time.monotonic() < over:
            async with http.get(path) as answer:
                await answer.read()
                answered += answer.status == 200

    headers = {"x-api-key": KEY}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        str(site.http.base_url), headers=headers, connector=connector
    ) as http:
        await asyncio.gather(*(reader(http) for _ in range(READERS)))
    return answered / READING
