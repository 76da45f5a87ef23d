"""What the four sources say, as plain records: nothing here knows how they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

TAKING_IN = 1.0
"""Seconds that a browser and its node may have a message before the log has it."""


class Answer(StrEnum):
    """What a client was told of a send."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Sent:
    """One send as its client knows it. `text` is the same words on the phone."""

    key: str
    session: str
    chat: str
    text: str
    answer: Answer = Answer.UNKNOWN
    words: list[str] = field(default_factory=list[str])

    def told(self, answer: Answer, word: str) -> None:
        """Take an answer. Once something is unknown, only an acceptance settles it."""
        self.words.append(word)
        doubtful = len(self.words) > 1 and self.answer is Answer.UNKNOWN
        if self.answer is not Answer.ACCEPTED and not (doubtful and answer is Answer.REFUSED):
            self.answer = answer


@dataclass(frozen=True, slots=True)
class Written:
    """One message that a simulated friend wrote to an account of ours."""

    id: str
    session: str
    chat: str
    text: str
    at: float = 0.0
    """When, in Unix seconds; 0 where nobody asks."""


@dataclass(slots=True)
class Ledger:
    """Every message, in the order in which each chat's were begun."""

    sends: dict[str, Sent] = field(default_factory=dict[str, Sent])
    written: dict[str, Written] = field(default_factory=dict[str, Written])
    gone: list[float] = field(default_factory=list[float])
    """When machines were lost with their browsers' profiles, in Unix seconds."""

    def went_along(self, message: Written) -> bool:
        """Tell whether a machine was lost within the second after a message was written.

        Its browser has told WhatsApp by then that the message is here, and WhatsApp sends it
        to nobody a second time: what was not on the log yet is gone with the machine.
        """
        return any(0 <= lost - message.at <= TAKING_IN for lost in self.gone)

    def send(self, key: str, session: str, chat: str) -> Sent:
        """Note a send before it is asked for the first time."""
        self.sends[key] = Sent(key, session, chat, text=key)
        return self.sends[key]

    def wrote(self, message: Written) -> None:
        """Note what a friend wrote."""
        self.written[message.id] = message

    def count(self, answer: Answer) -> int:
        """Count sends by what became of them."""
        return sum(1 for send in self.sends.values() if send.answer is answer)


@dataclass(frozen=True, slots=True)
class OnPhone:
    """A message as the simulated WhatsApp holds it, once for each id."""

    place: int
    session: str
    id: str
    chat: str
    text: str
    outgoing: bool
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Logged:
    """One event of a session as it stands in the stream; `session` is the dotted id."""

    position: int
    id: str
    session: str
    family: str
    kind: str
    version: int | None
    data: Mapping[str, Any]
    at: datetime
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a session's history as the service shows it."""

    session: str
    key: str | None
    wa_id: str | None
    status: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A session as the read models show it."""

    session: str
    state: str
    version: int
    received: int
    sent: int
    failed: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything there is to compare, read at one moment when nothing moved."""

    ledger: Ledger
    phone: tuple[OnPhone, ...]
    log: tuple[Logged, ...]
    history: tuple[Entry, ...]
    rows: tuple[Row, ...]
    kept: int = 1_000
    """Entries a session's history keeps, the newest."""

    unread: tuple[str, ...] = ()
    """What the service could not show at all, a sentence each."""

    def events(self, *kinds: str) -> Iterator[Logged]:
        """Walk the log's events of some kinds."""
        return (event for event in self.log if event.kind in kinds)
