"""A session's row: what is kept of it, folded from its own events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import TypeAdapter

from events import session_events as e
from events.session import IllegalTransition, Session, State, evolve
from events.session_events import SessionEvent, Totals
from projections.facts import Fact, Stuck

Answer = Literal["applied", "seen", "gap"]


@dataclass(frozen=True, slots=True)
class Row:
    """A session as folded, and what the fold does not keep. `position` is of its last event."""

    session: Session = field(default_factory=Session)
    created: datetime | None = None
    updated: datetime | None = None
    node: str | None = None
    position: int = 0

    @property
    def version(self) -> int:
        """How many session events are in here."""
        return self.session.version


_ROW = TypeAdapter(Row)


def dump(row: Row) -> str:
    """Write a row as JSON."""
    return _ROW.dump_json(row).decode()


def load(version: str | None, state: str | None, position: str | None, row: str | None) -> Row:
    """Read a row as Redis keeps it; what is missing is an empty row."""
    if version is None:
        return Row()
    if state == State.REMOVED or row is None:
        tombstone = Session(state=State.REMOVED, version=int(version))
        return Row(tombstone, position=int(position or 0))
    return _ROW.validate_json(row)


@dataclass(frozen=True, slots=True)
class Change:
    """What a run of events does to a row, and to what hangs on it.

    `born`: position of the last `registered` or `removed`; all messages before
    it are gone. `left_pairing`: codes told up to then are void. `totals`: the
    last statement of what must not shrink. `stuck`: why the run was cut short.
    """

    base: Row
    row: Row
    answers: tuple[Answer, ...]
    born: int | None = None
    left_pairing: datetime | None = None
    totals: Totals | None = None
    stuck: Stuck | None = None

    @property
    def gap(self) -> bool:
        """Whether events are missing before the last of the run."""
        return "gap" in self.answers

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return "applied" in self.answers


def fold(base: Row, facts: Sequence[Fact[SessionEvent]]) -> Change:
    """Apply what follows on the row's version; what it has is seen, what comes too early a gap."""
    row, answers = base, list[Answer]()
    born: int | None = None
    left_pairing: datetime | None = None
    totals: Totals | None = None
    stuck: Stuck | None = None
    for fact in facts:
        if fact.version != row.version + 1:
            answers.append("seen" if fact.version <= row.version else "gap")
            continue
        was, event = row.session.state, fact.event
        try:
            row = _after(row, fact)
        except IllegalTransition as error:
            # The version fits and the event does not: the log itself is wrong here.
            stuck = Stuck(fact.position, f"{fact.session.dotted}: {error}")
            break
        answers.append("applied")
        if isinstance(event, e.Registered | e.Removed):
            born, totals = fact.position, None
        if isinstance(event, e.Claimed | e.Stopped | e.ProfileSaved):
            totals = _later(totals, event.totals)
        left = was is State.PAIRING and row.session.state is not State.PAIRING
        if left or isinstance(event, e.Removed):
            left_pairing = fact.at
    return Change(base, row, tuple(answers), born, left_pairing, totals, stuck)


def _after(row: Row, fact: Fact[SessionEvent]) -> Row:
    return Row(
        session=evolve(row.session, fact.event, fact.at),
        created=fact.at if isinstance(fact.event, e.Registered) else row.created,
        updated=fact.at,
        node=fact.node or row.node,
        position=fact.position,
    )


def _later(one: Totals | None, other: Totals) -> Totals:
    return other if one is None or other.message_version >= one.message_version else one
