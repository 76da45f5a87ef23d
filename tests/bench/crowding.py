"""Sessions without browsers, more and more of them: what one costs, and what it costs the others.

All of a node but Chromium: actors, leases, consumers and the log are the real ones, and
sends go through the gateway.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from events.subjects import SessionId
from tests.bench.rows import Row, Say
from tests.faults.site import Site
from tests.faults.usage import usage
from tests.load.figures import quantile

STEPS = (100, 1_000, 2_500, 5_000)
"""Numbers of sessions at which it is measured; the first is what growth is held against."""

SENDS = 300
SENDERS = 100
"""Sessions that send, of all there are. Each sends once before: the first message of a session
costs more (a new chat, an id that is looked up), and among more sessions more are first ones."""

CREATES = 16
"""Creates that are under way at once."""

PATIENCE = 600.0
KEPT = 200.0
"""kB that a session without a browser may cost."""

FLAT = 2.0
"""By how much a send may be slower among all of them than among the first."""

VARIABLES = {
    "MAX_SESSIONS": str(STEPS[-1]),
    "SENDS_PER_MINUTE": "0",
    "SENDS_PER_SECOND": "0",
    "SESSIONS_PER_MINUTE": "0",
    "SESSIONS_PER_SECOND": "0",
    "START_CONCURRENCY": "32",
    # Each lease is written three times in this time, to a disk that syncs every write:
    # with the fifteen seconds of a hundred browsers, five thousand would do nothing else.
    "LEASE_TTL": "120",
    # There is no page to ask whether it lives.
    "PROBE_INTERVAL": "120",
    "PROBE_TIMEOUT": "60",
    "VAULT_MAX_MB": "0",
    "LOG_LEVEL": "warning",
}


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Grow a node step by step; `runs` times the same sends at each."""
    site = Site(home, VARIABLES, {"node": "tests.faults.fake_node"})
    memory: dict[int, float] = {}
    sends: dict[int, list[float]] = {}
    firsts: dict[int, list[float]] = {}
    tails: dict[int, list[float]] = {}
    try:
        await site.start()
        node = psutil.Process(site.parts["node"].pid)
        empty = usage([node]).pss_mb
        for count in STEPS:
            await _grow(site, count)
            memory[count] = usage([node]).pss_mb - empty
            senders = random.Random(count).sample(list(site.sessions), SENDERS)
            firsts[count] = [quantile(await _sends(site, senders, "first"), 0.5)]
            again = [random.Random(run).choices(senders, k=SENDS) for run in range(runs)]
            rounds = [await _sends(site, some, f"run {n}") for n, some in enumerate(again)]
            sends[count] = [quantile(took, 0.5) for took in rounds]
            tails[count] = [quantile(took, 0.99) for took in rounds]
            each = 1_000 * memory[count] / count
            say(f"crowding: {count} sessions, {each:.0f} kB each, sends {sends[count][-1]:.1f} ms")
    finally:
        await site.stop()
    few, many = STEPS[0], STEPS[-1]
    return [
        *(
            Row(f"{n:,} sessions: memory of one, no browser", "kB", [1_000 * memory[n] / n])
            for n in STEPS[:-1]
        ),
        Row(
            f"{many:,} sessions: memory of one, no browser",
            "kB",
            [1_000 * memory[many] / many],
            most=KEPT,
        ),
        *(Row(f"{n:,} sessions: a session's first send, p50", "ms", firsts[n]) for n in STEPS),
        *(Row(f"{n:,} sessions: send over HTTP, p99", "ms", tails[n]) for n in STEPS),
        *(Row(f"{n:,} sessions: send over HTTP, p50", "ms", sends[n]) for n in STEPS[:-1]),
        Row(
            f"{many:,} sessions: send over HTTP, p50",
            "ms",
            sends[many],
            sends[few],
            f"with {few}",
            most=FLAT,
        ),
    ]


async def _grow(site: Site, count: int) -> None:
    """Create sessions until there are so many, and wait until all are ready."""
    some = asyncio.Semaphore(CREATES)
    new = [SessionId(f"u{n // 5}", f"b{n % 5}") for n in range(len(site.sessions), count)]

    async def create(session: SessionId) -> None:
        body = {"userId": session.user, "plubotId": session.bot}
        async with some:
            answer = await site.http.post("/api/sessions/create", json=body)
            assert answer.is_success, answer.text

    await asyncio.gather(*(create(session) for session in new))
    site.sessions |= dict.fromkeys(new, "")

    async def ready() -> bool:
        answer = (await site.http.get("/api/sessions/stats")).json()
        return answer["byStatus"].get("ready", 0) == count

    await site.until(ready, PATIENCE, f"{count} sessions are ready", pause=1)


async def _sends(site: Site, sessions: Sequence[SessionId], text: str) -> list[float]:
    """Send one after the other, through these sessions in turn; return times in ms."""
    took: list[float] = []
    for number, session in enumerate(sessions):
        body = {"sessionId": session.joined, "to": "16660000000", "message": f"{text} {number}"}
        began = time.perf_counter()
        answer = await site.http.post("/api/messages/send", json=body)
        took.append(1_000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text
    return took
