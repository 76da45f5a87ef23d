"""A whole node in memory: real actors and rules; fake log, wire, browser and clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pykka

from actors.loop import LoopThread
from actors.memory import Cost
from actors.pace import Pace
from actors.parts import Parts
from actors.pool import PoolActor
from actors.pool_messages import Halt
from actors.vault.keys import Keys
from actors.vault.shelves import DiskShelf
from actors.vault.vault import Vault
from events import codec, subjects
from events.envelope import Envelope
from events.live import Refused
from events.message import Send
from events.pool import Create
from events.session import WORDS, Session, evolve
from events.session_rules import Policy
from events.settings import Settings
from events.subjects import SessionId
from tests.fakes.browser import FakeBrowser, FakeLauncher, FakeWhatsApp
from tests.fakes.clock import VirtualClock
from tests.fakes.leases import Board, FakeLeases
from tests.fakes.log import MemoryLog
from tests.fakes.media import FakeMedia
from tests.fakes.wire import FakeWire

NUMBER = "15550001111"
FRIEND = "15557654321@c.us"
PATIENCE = 60.0


class FakeMachine:
    """As much memory as a test says; each browser costs what `costs` says."""

    def __init__(self) -> None:
        self.available = 16_000
        self.costs = Cost(60, 1.0)

    def cost(self, pid: int) -> Cost | None:
        """See actors.memory.Machine."""
        return self.costs

    def available_mb(self) -> int:
        """See actors.memory.Machine."""
        return self.available


class World:
    """What a test plays with. Waits are for conditions; time moves by `clock.advance`."""

    def __init__(self, home: Path, beside: World | None = None, **knobs: object) -> None:
        """With `beside` it is another node on the same log, with a disk of its own."""
        knobs.setdefault("start_concurrency", 100)
        knobs.setdefault("node", "n1")
        self.settings = Settings(data_dir=home, _env_file=None, **knobs)  # type: ignore[arg-type]
        self.log = beside.log if beside else MemoryLog()
        self.wire = beside.wire if beside else FakeWire()
        self.clock = beside.clock if beside else VirtualClock()
        self.board = beside.board if beside else Board(self.clock)
        self.leases = FakeLeases(self.board, self.settings.node)
        self.machine = FakeMachine()
        self.media = FakeMedia()
        # One for all nodes, as Redis is.
        own = DiskShelf(self.settings.vault, self.settings.vault_keep)
        self.shelf = beside.shelf if beside else own
        self.vault = Vault(
            (self.shelf,),
            lambda: Keys.open((beside or self).settings),
            self.settings.vault_max_mb,
        )
        self.whatsapp = beside.whatsapp if beside else FakeWhatsApp(self.clock.now)
        self.launcher = FakeLauncher(self.whatsapp)
        self.loop = LoopThread()
        self.ended = False
        self.pool: pykka.ActorRef[PoolActor] | None = None

    def start(self) -> None:
        """Begin a life of the node."""
        self.leases = FakeLeases(self.board, self.settings.node)
        self.pool = PoolActor.start(
            Parts(
                log=self.log,
                loop=self.loop,
                clock=self.clock,
                launcher=self.launcher,
                wire=self.wire,
                leases=self.leases,
                machine=self.machine,
                media=self.media,
                vault=self.vault,
                pace=Pace(self.settings.sends_per_minute, self.settings.sends_per_second),
                settings=self.settings,
                policy=Policy.of(self.settings),
            ),
            lambda: None,
        )
        self.until(lambda: self.settings.node in self.wire.drains)
        self.creates = self.wire.creates[-1]

    def stop(self) -> None:
        """End it cleanly."""
        assert self.pool is not None
        self.pool.tell(Halt())
        assert self.pool.actor_stopped.wait(PATIENCE)
        self.leases.end()
        self._unheard()

    def _unheard(self) -> None:
        self.wire.drains.pop(self.settings.node)
        self.wire.creates.remove(self.creates)

    def kill(self) -> None:
        """End it as kill -9 would: nothing is written, nothing is closed."""
        self.log.faults.away = True
        pykka.ActorRegistry.stop_all(timeout=PATIENCE)
        self.log.faults.away = False
        # The parent-death signal takes the browsers along.
        for browser in self.launcher.running:
            browser.die()
        self.leases.end()
        self._unheard()
        self.wire.ears.clear()

    def die(self) -> None:
        """End this node as kill -9 would, where there are others."""
        assert self.pool is not None
        self.leases.end()
        self.pool.stop(timeout=PATIENCE)
        # Whatever a session of it does next finds no loop, and ends it.
        self.loop.stop()
        self.ended = True
        for browser in self.launcher.running:
            browser.die()
        self._unheard()

    def until(self, true: Callable[[], object], what: str = "") -> None:
        """Wait for a condition, at most PATIENCE seconds of real time."""
        give_up = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > give_up:
                raise AssertionError(f"never: {what or true}\n" + "\n".join(self.kinds()))
            time.sleep(0.002)

    # --- looking ----------------------------------------------------------------

    def kinds(self, session: SessionId | None = None) -> list[str]:
        """The types on the log, in order, without the common ends."""
        return [
            s.envelope.type.removeprefix("wa.").removesuffix(".v1")
            for s in list(self.log.events)
            if session is None or s.envelope.subject == session.dotted
        ]

    def envelopes(self, session: SessionId, kind: str) -> list[Envelope]:
        """Every event of a kind."""
        return [
            s.envelope
            for s in list(self.log.events)
            if s.subject
            in {subjects.session_event(session, kind), subjects.message_event(session, kind)}
        ]

    def pool_data(self, kind: str) -> dict[str, Any]:
        """What the newest event of a kind of the pool says."""
        subject = subjects.pool_event(self.settings.node, kind)
        return next(s for s in reversed(self.log.events) if s.subject == subject).envelope.data

    def state(self, session: SessionId) -> Session:
        """The session folded from the log."""
        state = Session()
        for stored in list(self.log.events):
            if stored.subject.startswith(subjects.session_family(session)[:-1]):
                envelope = stored.envelope
                state = evolve(state, codec.session_event_of(envelope), envelope.time)
        return state

    def word(self, session: SessionId) -> str:
        """The status word outside."""
        return WORDS[self.state(session).state]

    def wait_for(self, session: SessionId, kind: str, count: int = 1) -> None:
        """Wait until a kind of event was written so many times."""
        self.until(lambda: len(self.envelopes(session, kind)) >= count, f"{count} x {kind}")

    @property
    def launching(self) -> int:
        """How many sessions hold a place to launch a browser."""
        assert self.pool is not None
        return int(self.pool.proxy().launching.get(timeout=PATIENCE))

    def browser(self, session: SessionId) -> FakeBrowser:
        """The newest browser of a session."""
        return self.launcher.of(str(session))

    # --- acting -----------------------------------------------------------------

    def create(self, session: SessionId, **fields: object) -> Envelope:
        """Ask for a session."""
        return self.wire.create(session, Create(bot=session.bot, **fields))  # type: ignore[arg-type]

    def linked(self, session: SessionId, number: str = NUMBER) -> SessionId:
        """Create a session, scan, and wait until it is ready and has read what it missed."""
        self.create(session)
        self.wait_for(session, "pairing")
        self.browser(session).scan(number)
        self.wait_for(session, "ready")
        self.until(lambda: self.wire.ears[session].is_open)
        return session

    def send(
        self, session: SessionId, message: str, body: str = "hi", within: float = 3600
    ) -> Envelope:
        """Put a send into the outbox."""
        deadline = self.clock.now() + timedelta(seconds=within)
        return self.wire.send(
            session, Send(message=message, to=FRIEND, body=body, deadline=deadline)
        )

    def advance(self, seconds: float) -> None:
        """Let virtual time pass once every mailbox is empty, so that timers are set."""
        for ref in pykka.ActorRegistry.get_all():
            with suppress(pykka.ActorDeadError):
                ref.ask(None, timeout=PATIENCE)
        self.clock.advance(seconds)


def refusals(world: World) -> list[Refused]:
    """Every refusal that was told."""
    return [notice for _, notice in list(world.wire.notices) if isinstance(notice, Refused)]


@contextmanager
def a_world(home: Path, beside: World | None = None, **knobs: object) -> Iterator[World]:
    """A running node; nothing of it is left afterwards."""
    world = World(home, beside, **knobs)
    world.loop.start()
    world.start()
    try:
        yield world
    finally:
        pykka.ActorRegistry.stop_all(timeout=PATIENCE)
        if not world.ended:
            world.loop.stop()
        # One that its pool began in the moment of the end finds no loop, and ends.
        world.until(lambda: pykka.ActorRegistry.stop_all(timeout=PATIENCE) == [])
