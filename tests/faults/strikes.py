"""The faults: what each does to a running site, and whom it hits."""

from __future__ import annotations

import asyncio
import contextlib
import random
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
from tests.faults.processes import kill
from tests.faults.site import Site, told
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
