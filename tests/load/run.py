"""One run: from a cold start over load to a restart, and what was seen of it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from events.subjects import SessionId
from tests.faults.evidence import Answer, Evidence, Ledger, Logged
from tests.faults.ledger import Findings, compare
from tests.faults.site import KEY, Site
from tests.load.client import Client
from tests.load.crowd import Crowd
from tests.load.diary import Diary
from tests.load.meters import Memory, Meters, Sample, metered
from tests.load.plan import Plan
from tests.load.trouble import Trouble
from tests.simulator.phone import Phone

Say = Callable[[str], None]

PATIENCE = 1_200.0
"""Seconds in which all sessions must be ready, whatever was promised."""

SETTLED = 60.0
"""Seconds without any progress after which what is still open stays so."""


@dataclass
class Seen:
    """Everything that a run showed."""

    plan: Plan
    diary: Diary
    missing: list[str] = field(default_factory=list[str])
    up: float = 0.0
    """Seconds from nothing until the gateway answered."""

    linked: float = 0.0
    """Seconds from nothing until all sessions were ready."""

    restored: float | None = None
    """Seconds from the start of a service that was stopped until all were ready again."""

    idle: dict[str, float] = field(default_factory=dict[str, float])
    busy: dict[str, float] = field(default_factory=dict[str, float])
    samples: Sequence[Sample] = ()
    memory: Sequence[Memory] = ()
    began: float = 0.0
    """Time of day at which the load began."""

    took: float = 0.0
    log: Sequence[Logged] = ()
    findings: Findings = field(default_factory=Findings)
    left: Sequence[str] = ()
    """Processes that were still there in the end."""


async def run(plan: Plan, home: Path, say: Say) -> Seen:
    """Run a plan. Raises NotInTime when the service does not come up."""
    seen = Seen(plan, Diary())
    site = Site(home, plan.variables, {"node": "actors"})
    began = time.monotonic()
    try:
        await site.start()
        seen.up = time.monotonic() - began
        say(f"the service is up after {seen.up:.1f} s")
        phone = Phone(site.simulator.url, keep=True)
        async with Client(str(site.http.base_url), KEY, seen.diary) as client, phone:
            crowd = Crowd(plan, client, phone, seen.diary)
            await _with_ears(site, crowd, seen, began, say)
        if plan.restart:
            seen.restored = await restarted(site, list(site.sessions), say)
    finally:
        await site.stop()
        seen.left = left(home)
    return seen


async def _with_ears(site: Site, crowd: Crowd, seen: Seen, began: float, say: Say) -> None:
    listening = asyncio.create_task(crowd.ears.listen(crowd.client.http, KEY))
    try:
        sessions = [seen.plan.session(number) for number in range(seen.plan.users)]
        seen.missing = await crowd.link(sessions, PATIENCE)
        seen.linked = time.monotonic() - began
        site.sessions = {session: crowd.numbers[session.joined] for session in sessions}
        say(f"{len(sessions) - len(seen.missing)} of {len(sessions)} ready: {seen.linked:.1f} s")
        if seen.plan.idle:
            await _idle(site, seen, say)
        await _load(site, crowd, seen, say)
        # Sends have no key before the log gave them one; the queue tells whether they ended.
        await site.settled(Ledger(written=seen.diary.ledger.written), SETTLED, say)
        evidence = await site.evidence(seen.diary.ledger)
        seen.log = evidence.log
        seen.findings = judged(evidence, site.sessions)
        say(f"the ledger: {seen.findings.told()}")
    finally:
        listening.cancel()


async def _idle(site: Site, seen: Seen, say: Say) -> None:
    """Watch linked and silent sessions, once their profiles are in the vault."""
    await site.until_saved()
    await asyncio.sleep(5)
    with metered(site, seen.idle):
        await asyncio.sleep(seen.plan.idle)
    told = ", ".join(f"{name} {share:.1%}" for name, share in seen.idle.items())
    say(f"silent, of a core: {told}")


async def _load(site: Site, crowd: Crowd, seen: Seen, say: Say) -> None:
    meters = Meters(site, seen.diary, crowd.ears)
    trouble = Trouble(site, crowd)
    before = await meters.weigh()
    seen.diary.begin()
    meters.memory = [dataclasses.replace(before, at=0.0)]
    seen.began = time.time()
    works = [work for session in site.sessions for work in crowd.work(session)]
    tasks = [asyncio.ensure_future(work) for work in [*works, *trouble.work(), meters.run()]]
    try:
        with metered(site, seen.busy):
            over = seen.diary.began + seen.plan.duration
            while (rest := over - time.monotonic()) > 0:
                await asyncio.sleep(min(rest, 5.0))
                say(_progress(seen.diary))
                for task in tasks:
                    if task.done():
                        task.result()
        seen.took = seen.diary.now
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    seen.samples, seen.memory = meters.samples, meters.memory


def _progress(diary: Diary) -> str:
    sends = [r for r in diary.requests if r.route == "send"]
    lately = [r.took for r in sends if r.at > diary.now - 15]
    mean = 1_000 * sum(lately) / len(lately) if lately else 0.0
    return f"{len(sends)} sent, {len(diary.heard)} received, {mean:.0f} ms lately"


def judged(evidence: Evidence, sessions: Iterable[SessionId]) -> Findings:
    """Compare what the four sources say of these sessions."""
    findings = compare(own(evidence, sessions))
    # A user here does not wait for an answer before the next send, so nobody promised an order.
    return dataclasses.replace(findings, disordered=[])


def own(evidence: Evidence, sessions: Iterable[SessionId]) -> Evidence:
    """Leave guests out, and call each send by the key that the log has for its text."""
    names = {session.dotted for session in sessions}
    log = tuple(event for event in evidence.log if event.session in names)
    keys = {e.data["body"]: e.data["message"] for e in log if e.kind == "sending"}
    # The ledger takes the key of a send for its text, so the phone has to as well.
    phone = tuple(dataclasses.replace(m, text=keys.get(m.text, m.text)) for m in evidence.phone)
    ledger = Ledger(written=evidence.ledger.written)
    for text, sent in evidence.ledger.sends.items():
        if text not in keys and sent.answer == Answer.UNKNOWN:
            # A user here does not ask again when it is told to: a failed request, and no more.
            continue
        key = keys.get(text, text)
        ledger.sends[key] = dataclasses.replace(sent, key=key, text=key)
    rows = tuple(row for row in evidence.rows if row.session in names)
    return dataclasses.replace(evidence, ledger=ledger, phone=phone, log=log, rows=rows)


async def restarted(site: Site, sessions: Sequence[SessionId], say: Say) -> float:
    """Stop the whole service, start it again, and return after how long all are ready."""
    for name in ("gateway", "node", "projections", "redis", "nats"):
        await site.parts[name].stop(60)
    say("stopped; starting again")
    began = time.monotonic()
    for name in ("nats", "redis", "node", "projections", "gateway"):
        site.parts[name].start()

    async def ready() -> bool:
        words = await site.words()
        return bool(words) and all(words.get(s.joined) == "ready" for s in sessions)

    await site.until(ready, PATIENCE, "all are ready again", 0.5)
    took = time.monotonic() - began
    say(f"all ready again after {took:.1f} s")
    return took


def left(home: Path) -> list[str]:
    """Name the processes that still run below a folder."""
    found: list[str] = []
    for process in psutil.process_iter(["pid", "name", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(home) in line:
            found.append(f"{process.info['pid']} {process.info['name']}")
    return found
