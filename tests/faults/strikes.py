"""The faults: what each does to a running site, and whom it hits."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis.asyncio

from events.subjects import SessionId
from tests.faults.failing_node import POINTS
from tests.faults.load import Load
from tests.faults.site import LogReader, Process, Site, kill, told
from tests.faults.usage import tree


@dataclass
class Run:
    """What a strike may touch."""

    site: Site
    load: Load
    dice: random.Random
    longest: float
    """How many of the seconds that a fault may last it does: 1 in long runs, less in short ones."""

    kinds: list[str] = field(default_factory=list[str])
    """Which kind each strike of an experiment with several is, in order."""

    def seconds(self, least: float, most: float) -> float:
        """Throw a duration."""
        return self.dice.uniform(least, least + (most - least) * self.longest)

    def rather_short(self, least: float, most: float) -> float:
        """Throw a duration from the whole range, most of them from its lower third."""
        return least + (most - least) * self.longest * self.dice.random() ** 2

    def session(self) -> SessionId:
        """Throw a session."""
        return self.dice.choice(list(self.site.sessions))

    @property
    def everybody(self) -> list[SessionId]:
        """All sessions."""
        return list(self.site.sessions)


@dataclass(frozen=True, slots=True)
class Struck:
    """What was done, to whom, and when it was over (or begun, where it does not end by itself)."""

    kind: str
    sessions: list[SessionId]
    began: float
    over: float
    machine_lost: bool = False
    """Whether the browsers' profiles went as well: another node went on from the vault."""

    told: str = ""
    """A figure that was taken meanwhile, for people."""

    unmet: tuple[str, ...] = ()
    """What was promised of this strike besides the ledger, and was not kept."""


Strike = Callable[[Run, int], Awaitable[Struck]]


def struck(kind: str, sessions: list[SessionId], began: float) -> Struck:
    """Note a strike that is over now."""
    return Struck(kind, sessions, began, time.time())


# --- servers ------------------------------------------------------------------


async def nats_killed(run: Run, _number: int) -> Struck:
    """NATS: kill -9, back after 0 to 10 s."""
    began, nats = time.time(), run.site.parts["nats"]
    nats.kill()
    await asyncio.sleep(run.rather_short(0, 10))
    nats.start()
    return struck("nats killed", run.everybody, began)


async def nats_frozen(run: Run, _number: int) -> Struck:
    """NATS: it keeps its sockets and answers nothing for 1 to 20 s."""
    began, nats = time.time(), run.site.parts["nats"]
    nats.freeze()
    await asyncio.sleep(run.rather_short(1, 20))
    nats.thaw()
    return struck("nats frozen", run.everybody, began)


async def redis_killed(run: Run, number: int) -> Struck:
    """Redis: kill -9, or a power cut that takes its last second along; back after 0 to 3 s."""
    began, server = time.time(), run.site.parts["redis"]
    kind = run.kinds[number]
    server.kill()
    if kind == "power cut":
        _cut(run.site.home / "redis", run.dice.randint(1, LAST_SECOND))
    await asyncio.sleep(run.seconds(0, 3))
    server.start()
    return struck(f"redis {kind}", run.everybody, began)


async def redis_flushed(run: Run, _number: int) -> Struck:
    """Redis: FLUSHALL, everything in it forgotten."""
    began, settings = time.time(), run.site.settings("gateway")
    assert settings.redis_password is not None
    client = redis.asyncio.Redis(
        port=settings.redis_port, password=settings.redis_password.get_secret_value()
    )
    await client.flushall()
    await client.aclose()
    return struck("redis flushed", run.everybody, began)


LAST_SECOND = 20_000
"""Bytes of Redis's file that were not on the disk yet: it is synced once a second."""


def _cut(folder: Path, most: int) -> None:
    """Cut the end off the append-only file: what kill -9 alone leaves in the kernel's hand."""
    newest = max(folder.rglob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
    with newest.open("r+b") as file:
        file.truncate(max(0, newest.stat().st_size - most))


# --- the node -----------------------------------------------------------------


async def node_at_point(run: Run, number: int) -> Struck:
    """The node: kill -9 at a chosen line around `sending`."""
    point, node = POINTS[number % len(POINTS)], run.site.parts["node"]
    told(run.site.order, {"point": point, "pass": run.dice.randint(1, 5)})
    await run.site.until(lambda: asyncio.sleep(0, not node.running), 60, f"dies {point}", 0.01)
    began = time.time()
    node.start()
    return struck(point, run.everybody, began)


async def node_killed(run: Run, _number: int) -> Struck:
    """The node: kill -9 at a random instant."""
    began, node = time.time(), run.site.parts["node"]
    node.kill()
    await asyncio.sleep(run.seconds(0, 1))
    node.start()
    return struck("node killed", run.everybody, began)


async def everything_killed(run: Run, _number: int) -> Struck:
    """All five parts: kill -9 at once, back one by one in random order."""
    began = time.time()
    parts = list(run.site.parts.values())
    for part in parts:
        part.signal(signal.SIGKILL)
    for part in parts:
        part.kill()
    run.dice.shuffle(parts)
    for part in parts:
        await asyncio.sleep(run.seconds(0, 0.5))
        part.start()
    return struck("everything killed", run.everybody, began)


async def owner_replaced(run: Run, _number: int) -> Struck:
    """The node: frozen while another one takes over all sessions; then it goes on."""
    began, site, old = time.time(), run.site, run.site.parts["node"]
    was = old.environment["NODE"]
    new = "b" if was == "a" else "a"
    old.freeze()
    # It is another machine: the browsers there are gone, a copy of the profiles is here.
    gone = [process for browser in site.browsers(None) for process in tree(browser)]
    for process in gone:
        kill(process)
    # Until the last of them has ended, files still change under the copy.
    await asyncio.to_thread(psutil.wait_procs, gone, 5)
    await asyncio.to_thread(_copied, site.profiles(was), site.profiles(new))
    site.parts["node"] = node = site.node(new)
    node.start()
    await _claimed(site, new, began)
    await asyncio.sleep(run.rather_short(0, 3))
    old.thaw()
    # It hears that it owns nothing any more, while the other one is at work.
    await asyncio.sleep(run.rather_short(1, 5))
    old.kill()
    return struck("owner replaced", run.everybody, began)


async def node_lost(run: Run, number: int) -> Struck:
    """A machine: the node that has all sessions, kill -9; another one goes on with them."""
    old, new = _pair(run, number)
    old.kill()
    began = time.time()
    await _claimed(run.site, new.environment["NODE"], began)
    lost = struck("node lost", run.everybody, began)
    old.start()
    return dataclasses.replace(lost, machine_lost=True)


async def node_lost_with_leases(run: Run, number: int) -> Struck:
    """A node with all sessions, kill -9: ready elsewhere in lease TTL + 20 s, one device each."""
    old, new = _pair(run, number)
    old.kill()
    began = time.time()
    name, within = new.environment["NODE"], float(new.environment["LEASE_TTL"]) + START
    ready = await _ready_on(run.site, name, began, within + 60)
    unmet = [f"ready after {ready:.1f} s, promised within {within:.0f} s"] if ready > within else []
    for session, account in run.site.sessions.items():
        devices = len(await run.site.phone.devices(account))
        if devices != 1:
            unmet.append(f"{session}: {devices} devices at the phone, promised 1")
    lost = struck("node lost with leases", run.everybody, began)
    told = f"all {len(run.site.sessions)} ready {ready:.1f} s after the kill (line {within:.0f} s)"
    old.start()
    return dataclasses.replace(lost, machine_lost=True, told=told, unmet=tuple(unmet))


START = 20.0
"""Seconds that a takeover may last beyond the lease: starting all its browsers."""


async def node_drained(run: Run, number: int) -> Struck:
    """A node: drained by command or by SIGTERM in turn, and started anew."""
    began, (old, new) = time.time(), _pair(run, number)
    name = old.environment["NODE"]
    if number % 4 < 2:
        # Refused until the other one, which was away itself, says that it has room.
        await run.site.until(lambda: _drains(run.site, name), 30, f"{name} drains")
        await _claimed(run.site, new.environment["NODE"], began)
    await old.stop()
    await _claimed(run.site, new.environment["NODE"], began)
    old.start()
    return struck("node drained", run.everybody, began)


async def _drains(site: Site, node: str) -> bool:
    return (await site.http.post(f"/api/nodes/{node}/drain")).is_success


def _pair(run: Run, number: int) -> tuple[Process, Process]:
    """Tell which of two nodes has the sessions, and which has none: they take turns."""
    nodes = (run.site.parts["node"], run.site.parts["b"])
    return nodes if number % 2 == 0 else (nodes[1], nodes[0])


def _copied(was: Path, new: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(was, new, ignore=shutil.ignore_patterns("Singleton*", ".wa.*", "tmp"))


async def _claimed(site: Site, node: str, since: float) -> None:
    reader = LogReader(site)

    async def all_claimed() -> bool:
        claims = {
            event.session
            for event in await reader.more()
            if event.kind == "claimed" and event.node == node and event.at.timestamp() > since
        }
        return len(claims) >= len(site.sessions)

    try:
        await site.until(all_claimed, 60, f"{node} claims all sessions", 0.1)
    finally:
        await reader.close()


async def _ready_on(site: Site, node: str, since: float, seconds: float) -> float:
    """Wait until a node has all sessions ready; seconds from then by the log. Raises NotInTime."""
    reader = LogReader(site)

    async def all_ready() -> list[float]:
        first: dict[str, float] = {}
        for event in await reader.more():
            at = event.at.timestamp()
            if event.kind == "ready" and event.node == node and at > since:
                first.setdefault(event.session, at)
        return list(first.values()) if len(first) >= len(site.sessions) else []

    try:
        found = await site.until(all_ready, seconds, f"all sessions are ready on {node}", 0.1)
        return max(found) - since
    finally:
        await reader.close()


# --- browsers -----------------------------------------------------------------


async def browser_struck(run: Run, number: int) -> Struck:
    """Chromium: SIGKILL, SIGSTOP, a page that crashes, all browsers at once."""
    began, kind, session = time.time(), run.kinds[number], run.session()
    browsers = run.site.browsers(None if kind == "all killed" else session)
    hit = run.everybody if kind == "all killed" else [session]
    for browser in browsers:
        match kind:
            case "page crashed":
                for process in _renderers(browser):
                    kill(process)
            case "frozen":
                for process in tree(browser):
                    with contextlib.suppress(psutil.Error):
                        process.suspend()
            case _:
                kill(browser)
    return struck(f"browser {kind}", hit, began)


def _renderers(browser: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in tree(browser):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                found.append(process)
    return found


# --- WhatsApp -----------------------------------------------------------------


async def whatsapp_struck(run: Run, number: int) -> Struck:
    """WhatsApp: dropped sockets, a conflict, a page that hangs, is slow, or has late modules."""
    began, kind, session = time.time(), run.kinds[number], run.session()
    phone, account = run.site.phone, run.site.sessions[session]
    hit = [session]
    match kind:
        case "dropped":
            await phone.drop(account)
        case "all dropped":
            await phone.drop()
            hit = run.everybody
        case "hung":
            await phone.hang(account, ms=int(1000 * run.seconds(1, 8)))
        case "conflict":
            await run.site.until_words([session], {"ready"}, 60)
            await phone.conflict(account)
            await run.site.until_words([session], {"disconnected"}, 30)
            await asyncio.sleep(run.seconds(0, 2))
            await run.site.take_over(session)
        case _:
            late = int(1000 * run.seconds(1, 5))
            slow: dict[str, object] = {"boot_ms": late, "sync_ms": late, "gap_ms": 500}
            modules: dict[str, object] = {"late_modules": ["WAWebSocketModel"], "late_ms": late}
            await phone.config(number=account, **(slow if kind == "slow" else modules))
            for browser in run.site.browsers(session):
                kill(browser)
    return struck(f"whatsapp {kind}", hit, began)


async def unlinked(run: Run, _number: int) -> Struck:
    """The phone removes the device; after a while it is linked anew."""
    began, session = time.time(), run.session()
    with run.load.hushed(session):
        await run.site.until_words([session], {"ready"}, 60)
        await run.site.phone.unlink(run.site.sessions[session])
        await run.site.until_words([session], {"logged_out"}, 30)
        # Longer than the deadline of a send, now and then.
        await asyncio.sleep(run.rather_short(0, 8))
        await run.site.scan(session)
    return struck("unlinked", [session], began)
