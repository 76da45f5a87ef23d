"""`make figures`: how long things take when something breaks, with every part real.

No assertions: a figure depends on the machine, which is printed with it. Settings are
the defaults, but for START_TIMEOUT, or five failed starts would take five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil
import structlog
from nats.errors import Error as NatsError

from events import subjects
from events.asks import Query, Question
from events.subjects import SessionId
from tests.faults import machine
from tests.faults.evidence import Logged
from tests.faults.log_reader import LogReader
from tests.faults.processes import kill
from tests.faults.report import aligned
from tests.faults.site import NotInTime, Site, a_site
from tests.faults.usage import tree

OUT = Path("build/figures.json")
SETTINGS = {"START_TIMEOUT": "10", "LOG_JSON": "true", "SEND_WAIT": "1"}
HEAD = ("what", "figure")
NEVER = 3_600_000
"""Milliseconds until a page boots that is to be given up before."""

BREAK = 100.0
"""Seconds in which nothing can start, when everything fails."""

ANSWERS = 200
"""Requests whose answer from a suspended session is timed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was measured, and what it came to, with its unit."""

    what: str
    value: str


class Pings:
    """Asks other sessions through their mailboxes, some times a second, until it is left."""

    def __init__(self, site: Site, sessions: Sequence[SessionId], query: Query) -> None:
        self._site, self._sessions, self._query = site, sessions, query
        self.took: list[float] = []
        self.failed = 0

    async def run(self, pause: float = 0.02) -> None:
        """Ask one after the other until cancelled."""
        client = await self._site.connect("gateway")
        body = Question().model_dump_json(exclude_none=True).encode()
        try:
            while True:
                for session in self._sessions:
                    began = time.perf_counter()
                    try:
                        await client.request(subjects.ask(session, self._query), body, timeout=5)
                        self.took.append(1_000 * (time.perf_counter() - began))
                    except NatsError:
                        self.failed += 1
                    await asyncio.sleep(pause)
        finally:
            await client.close()

    def told(self, meanwhile: str) -> Figure:
        """Sum up."""
        failed = f", {self.failed} without an answer" if self.failed else ""
        what = {"qr": "mailboxes", "status": "pages"}.get(self._query, self._query)
        return Figure(f"{meanwhile}: other sessions' {what}", percentiles(self.took) + failed)


def percentiles(milliseconds: Sequence[float]) -> str:
    """Median, 99th percentile, longest, and of how many."""
    if len(milliseconds) < 2:
        return "-"
    p99 = statistics.quantiles(milliseconds, n=100)[98]
    middle, longest = statistics.median(milliseconds), max(milliseconds)
    return f"p50 {middle:.1f} ms, p99 {p99:.1f} ms, max {longest:.1f} ms of {len(milliseconds)}"


class Told:
    """The log of a site, read again and again."""

    def __init__(self, site: Site) -> None:
        self._site, self._reader = site, LogReader(site)

    async def since(self, began: float, *kinds: str) -> list[Logged]:
        """Read what was stored since, of some kinds, the pool's too."""
        await self._reader.more()
        return [
            event
            for event in self._reader.events
            if event.at.timestamp() >= began and event.kind in kinds
        ]

    async def until(self, session: SessionId, kind: str, began: float, seconds: float) -> float:
        """Wait for an event; return the seconds from `began` to it. Raises NotInTime."""

        async def there() -> list[Logged]:
            return [e for e in await self.since(began, kind) if e.session == session.dotted]

        found = await self._site.until(there, seconds, f"{session} is {kind}", 0.1)
        return found[0].at.timestamp() - began

    async def close(self) -> None:
        """Close the connection."""
        await self._reader.close()


async def killed(site: Site, told: Told) -> list[Figure]:
    """Kill one browser; ask the other sessions meanwhile."""
    session, *others = site.sessions
    with _pinging(site, others, "qr", "status") as pings:
        await asyncio.sleep(5)
        for ping in pings:
            ping.took.clear()
        began = time.time()
        for browser in site.browsers(session):
            kill(browser)
        noticed = await told.until(session, "crashed", began, 60)
        ready = await told.until(session, "ready", began, 60)
        await asyncio.sleep(max(0.0, began + 6 - time.time()))
    return [
        Figure("a browser is killed: noticed", f"{1_000 * noticed:.0f} ms"),
        Figure("a browser is killed: ready again", f"{ready:.1f} s"),
        *(ping.told("meanwhile, 6 s") for ping in pings),
    ]


async def frozen(site: Site, told: Told) -> list[Figure]:
    """Freeze one browser after the other, at any moment between two probes."""
    noticed: list[float] = []
    ended: list[float] = []
    ready: list[float] = []
    for session in list(site.sessions)[1:6]:
        began = time.time()
        browsers = site.browsers(session)
        for browser in browsers:
            for process in tree(browser):
                with contextlib.suppress(psutil.Error):
                    process.suspend()
        noticed.append(await told.until(session, "crashed", began, 60))
        await site.until(partial(_gone, browsers), 60, f"the browser of {session} ends")
        ended.append(time.time() - began)
        ready.append(await told.until(session, "ready", began, 60))
    moments = {"noticed": noticed, "killed": ended, "ready again": ready}
    return [
        Figure(f"a browser is frozen: {moment}", _range(seconds))
        for moment, seconds in moments.items()
    ]


async def _gone(browsers: Sequence[psutil.Process]) -> bool:
    return not any(browser.is_running() for browser in browsers)


def _range(seconds: Sequence[float]) -> str:
    return (
        f"{min(seconds):.1f} to {max(seconds):.1f} s, "
        f"median {statistics.median(seconds):.1f} s of {len(seconds)}"
    )


async def never_ready(site: Site, told: Told) -> list[Figure]:
    """Let one page load for ever, until its session is suspended, and ask it to send then."""
    session = next(iter(site.sessions))
    account = site.sessions[session]
    await site.phone.config(number=account, boot_ms=NEVER)
    began = time.time()
    for browser in site.browsers(session):
        kill(browser)
    suspended = await told.until(session, "suspended", began, 400)
    starts = [e for e in await told.since(began, "starting") if e.session == session.dotted]
    took, with_header = await _refused(site, session)
    await site.phone.config(number=account, boot_ms=300)
    return [
        Figure("a page never becomes ready: suspended", f"{suspended:.0f} s, {len(starts)} starts"),
        Figure("then a send is refused with 503 and Retry-After", percentiles(took)),
        Figure("503 answers that had Retry-After", f"{with_header} of {len(took)}"),
    ]


async def _refused(site: Site, session: SessionId) -> tuple[list[float], int]:
    took: list[float] = []
    with_header = 0
    for number in range(ANSWERS):
        body = {"sessionId": session.joined, "to": "16660000000", "message": f"never {number}"}
        began = time.perf_counter()
        answer = await site.http.post("/api/messages/send", json=body)
        if answer.status_code == 503:
            took.append(1_000 * (time.perf_counter() - began))
            with_header += "retry-after" in answer.headers
    return took, with_header


async def all_failing(site: Site, told: Told) -> list[Figure]:
    """Take WhatsApp away and kill every browser; after a while it is back."""
    sessions = list(site.sessions)
    await site.until_words(sessions, {"ready"}, 200)
    began = time.time()
    await site.simulator.kill()
    for browser in site.browsers(None):
        kill(browser)
    await asyncio.sleep(BREAK)
    back = time.time()
    await site.simulator.start()
    await site.until_words(sessions, {"ready"}, 200)
    ready = time.time() - back
    kinds = ("launches_paused", "launches_probed", "launches_resumed")
    breaker = {kind: await told.since(began, kind) for kind in kinds}
    paused = breaker["launches_paused"]
    if not paused:
        raise NotInTime(f"the node's breaker did not open in {BREAK:.0f} s")
    opened = paused[0].at.timestamp()
    starts = [e.at.timestamp() for e in await told.since(began, "starting")]
    before = [at for at in starts if at <= opened]
    while_open = [at for at in starts if opened < at < back]
    after = [at for at in starts if at >= back]
    events = ", ".join(f"{len(found)} {kind}" for kind, found in breaker.items())
    return [
        Figure(f"{len(sessions)} sessions fail together: breaker opens", f"{opened - began:.1f} s"),
        Figure("the node breaker's events", events),
        Figure("starts until it opens", _rate(before, opened - began)),
        Figure("starts while it is open", _rate(while_open, back - opened)),
        Figure("starts after WhatsApp is back", _rate(after, ready)),
        Figure("all ready after WhatsApp is back", f"{ready:.1f} s"),
    ]


def _rate(times: Sequence[float], seconds: float) -> str:
    return f"{len(times)} in {seconds:.1f} s: {len(times) / seconds:.2f} a second"


@contextmanager
def _pinging(site: Site, sessions: Sequence[SessionId], *queries: Query) -> Iterator[list[Pings]]:
    pings = [Pings(site, sessions, query) for query in queries]
    tasks = [asyncio.create_task(ping.run()) for ping in pings]
    try:
        yield pings
    finally:
        for task in tasks:
            task.cancel()


MEASURED = (killed, frozen, never_ready, all_failing)


async def measure(home: Path, sessions: int) -> list[Figure]:
    """Measure everything on one site, one thing after the other. Raises NotInTime."""
    found: list[Figure] = []
    async with a_site(home, sessions, {"node": "actors"}, **SETTINGS) as site:
        told = Told(site)
        try:
            for each in MEASURED:
                print(f"{each.__name__}: {(each.__doc__ or '').strip()}", flush=True)
                await site.until_words(list(site.sessions), {"ready"}, 120)
                for figure in await each(site, told):
                    print(f"  {figure.what}: {figure.value}", flush=True)
                    found.append(figure)
        finally:
            await told.close()
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make figures", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10)
    asked = parser.parse_args()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="wa-figures-") as home:
        figures = asyncio.run(measure(Path(home), asked.sessions))
    print(f"\n{aligned(HEAD, [(each.what, each.value) for each in figures])}\n\n{machine.told()}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    told = {"machine": machine.told(), "figures": [asdict(each) for each in figures]}
    OUT.write_text(json.dumps(told, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
