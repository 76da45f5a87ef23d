"""Leases in memory, for several nodes on one virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.leases import ACCOUNT_LIVES, AccountLost, Freed, Lapsed, LeaseAway, Lost, News, NodeWord
from events.clock import Clock
from events.subjects import SessionId


@dataclass
class Entry:
    """Who holds a lease, for which session, until when."""

    holder: FakeLeases
    session: SessionId
    until: float


@dataclass
class Board:
    """What all nodes share: the bucket, and who listens."""

    clock: Clock
    ttl: float = 15.0
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    nodes: list[FakeLeases] = field(default_factory=list["FakeLeases"])

    def get(self, key: str) -> Entry | None:
        """Return an entry that has not run out."""
        entry = self.entries.get(key)
        return entry if entry is not None and entry.until > self.clock.monotonic() else None


class FakeLeases:
    """See actors.leases.Leases. `away` cuts this node off; `end` is the end of its process."""

    def __init__(self, board: Board, node: str) -> None:
        self.board, self.node = board, node
        self.away = False
        self.word: tuple[NodeWord, float] | None = None
        self._mine: dict[str, SessionId] = {}
        self._news: Callable[[News], None] = lambda _: None
        self._ended = False

    async def open(self, news: Callable[[News], None]) -> None:
        """See Leases.open."""
        self._reach()
        self._news = news
        self.board.nodes.append(self)
        self._renew_later()

    def end(self) -> None:
        """Renew and hear nothing more, as after a kill -9."""
        self._ended = True
        if self in self.board.nodes:
            self.board.nodes.remove(self)

    async def take(self, session: SessionId) -> bool:
        """See Leases.take."""
        return self._take(f"session.{session}", session, lambda e: e.holder.node == self.node)

    async def take_account(self, session: SessionId, phone: str) -> bool:
        """See Leases.take_account."""
        key = f"account.{phone}"
        self._drop_accounts(session, but=key)
        return self._take(key, session, lambda entry: entry.session == session)

    async def release_account(self, session: SessionId) -> None:
        """See Leases.release_account."""
        self._drop_accounts(session, but=None)

    async def release(self, session: SessionId, *, hand_over: bool) -> None:
        """See Leases.release."""
        self._drop_accounts(session, but=None)
        self._drop(f"session.{session}")
        if hand_over:
            for node in self.board.nodes:
                if node is not self:
                    node._news(Freed(session))

    async def held(self) -> frozenset[SessionId]:
        """See Leases.held."""
        self._reach()
        keys = [key for key in list(self.board.entries) if key.startswith("session.")]
        found = (self.board.get(key) for key in keys)
        return frozenset(entry.session for entry in found if entry is not None)

    async def say(self, word: NodeWord) -> None:
        """See Leases.say."""
        if not self.away:
            self.word = (word, self.board.clock.monotonic())

    def others(self) -> tuple[NodeWord, ...]:
        """See Leases.others."""
        since = self.board.clock.monotonic() - self.board.ttl
        said = (node.word for node in list(self.board.nodes) if node is not self)
        return tuple(word for word, at in filter(None, said) if at >= since)

    def _reach(self) -> None:
        if self.away:
            raise LeaseAway("away")

    def _take(self, key: str, session: SessionId, is_ours: Callable[[Entry], bool]) -> bool:
        self._reach()
        held = self.board.get(key)
        if held is not None and not is_ours(held):
            return False
        self._mine[key] = session
        self._write(key, session)
        return True

    def _write(self, key: str, session: SessionId) -> None:
        lives = ACCOUNT_LIVES if key.startswith("account.") else 1
        until = self.board.clock.monotonic() + self.board.ttl * lives
        self.board.entries[key] = Entry(self, session, until)

    def _drop_accounts(self, session: SessionId, but: str | None) -> None:
        for key, held in list(self._mine.items()):
            if held == session and key.startswith("account.") and key != but:
                self._drop(key)

    def _drop(self, key: str) -> None:
        self._mine.pop(key, None)
        held = self.board.entries.get(key)
        if held is not None and held.holder is self:
            del self.board.entries[key]

    def _renew_later(self) -> None:
        self.board.clock.after(self.board.ttl / 3, self._renew)

    def _renew(self) -> None:
        if self._ended:
            return
        self._renew_later()
        if self.away:
            return
        for key, session in list(self._mine.items()):
            held = self.board.get(key)
            if held is not None and held.holder is not self:
                del self._mine[key]
                is_session = key.startswith("session.")
                self._news(Lost(session) if is_session else AccountLost(session))
                continue
            self._write(key, session)
            if held is None and key.startswith("session."):
                self._news(Lapsed(session))
