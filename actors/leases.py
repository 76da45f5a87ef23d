"""Leases: which node runs a session, for as long as that node renews it.

The lease keeps the peace between nodes; the fence on the log keeps the truth. A node
takes the lease first, then claims on the log, and only then starts a browser; one that
loses the lease stops the browser first. An account of WhatsApp is leased as well, to
one session at a time, whichever id it came under.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from events.subjects import SessionId


class LeaseAway(Exception):
    """The broker cannot be reached, or answers that it cannot serve now."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else has the lease of a session, or may have it by now."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A lease ran out unrenewed and was free to be taken again.

    Somebody may have had it in between: the log tells.
    """

    session: SessionId


@dataclass(frozen=True, slots=True)
class Freed:
    """Another node handed a session over."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class AccountLost:
    """Another session has the phone account of this one by now."""

    session: SessionId


News = Lost | Lapsed | Freed | AccountLost

ACCOUNT_LIVES = 4
"""Lives of a session's lease that an account's has: who has the session has its account at
once, and only another session that is linked to the same phone has to wait for its end."""


@dataclass(frozen=True, slots=True)
class NodeWord:
    """What a node says of itself, now and then. `leaving`: it takes nothing any more."""

    node: str
    sessions: int
    has_room: bool
    leaving: bool = False


class Leases(Protocol):
    """What nodes need of each other. Coroutines run on the loop thread.

    Both versions pass the same contract tests.
    """

    async def open(self, news: Callable[[News], None]) -> None:
        """Begin to renew and to listen; `news` is called on the loop thread. Raises LeaseAway."""
        ...

    async def take(self, session: SessionId) -> bool:
        """Take the lease, or keep it; False if another node has it. Raises LeaseAway.

        What an earlier life of this node held is this node's.
        """
        ...

    async def take_account(self, session: SessionId, phone: str) -> bool:
        """Take a phone account for a session; False if another session has it. Raises LeaseAway."""
        ...

    async def release_account(self, session: SessionId) -> None:
        """Let go of the account of a session that is not linked to it any more. Best effort."""
        ...

    async def release(self, session: SessionId, *, hand_over: bool) -> None:
        """Give the lease up, and its account with it; `hand_over` tells other nodes. Best effort.

        What cannot be given up runs out by itself.
        """
        ...

    async def held(self) -> frozenset[SessionId]:
        """Tell which sessions any node has. Raises LeaseAway."""
        ...

    async def say(self, word: NodeWord) -> None:
        """Tell the other nodes of this one, until it is said again. Best effort."""
        ...

    def others(self) -> tuple[NodeWord, ...]:
        """Return what other nodes that live said last. Any thread."""
        ...
