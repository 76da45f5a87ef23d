"""What a pool's mailbox takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from actors.inbox import Delivered
from actors.leases import News
from actors.tenure import Leased, Looked
from events.subjects import SessionId


@dataclass(frozen=True, slots=True)
class Boot:
    """Begin a life: read who is registered, start them, listen for creates."""


@dataclass(frozen=True, slots=True)
class CreateCame:
    """A create from the shared queue."""

    delivered: Delivered


@dataclass(frozen=True, slots=True)
class WantSlot:
    """A session wants to launch a browser."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class SlotDone:
    """A session is past its launch. `started` is None if that says nothing about launching."""

    session: SessionId
    started: bool | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outdated:
    """WhatsApp refused the version of a page that was long up; a reload may bring a newer one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Look again whether a browser may be launched."""


@dataclass(frozen=True, slots=True)
class Died:
    """A session's actor failed; the truth is on the log, so it is read again."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Lost:
    """Another owner has this session."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Yielded:
    """A session gave way to another node: its browser has ended."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Leaving:
    """A session was removed. What is left of it goes; `over` is set when nothing is."""

    session: SessionId
    over: threading.Event


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A session was removed and its leftovers are cleaned up."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Revive:
    """Start a session's actor again."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look for actors that died unheard and for commands nobody takes."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Which sessions have commands waiting, and how many."""

    waiting: dict[SessionId, int]


@dataclass(frozen=True, slots=True)
class Heard:
    """News of leases."""

    news: News


@dataclass(frozen=True, slots=True)
class Halted:
    """A session ended as it was asked to, for another node to go on with."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Somebody wants the node empty. `reply` takes an encoded answer, from any thread."""

    reply: Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Halt:
    """The node shuts down: hand every session over, or stop them all where nobody takes them."""


@dataclass(frozen=True, slots=True)
class HaltNow:
    """There is no more time to hand sessions over: stop them all, in parallel."""


OfSession = WantSlot | SlotDone | Outdated | Died | Lost | Yielded | Leaving | Forgotten | Halted
"""What a session's actor tells."""


@dataclass(frozen=True, slots=True)
class Told:
    """Word of a session's actor, with the life it had: that of an earlier one is old news."""

    session: SessionId
    life: int
    word: OfSession


PoolMessage = (
    Boot
    | CreateCame
    | Told
    | Grant
    | Revive
    | Sweep
    | Swept
    | Heard
    | Looked
    | Leased
    | DrainAsked
    | Halt
    | HaltNow
)
