"""A session as it was at a moment, how it came to that, and why: its log, folded. Pure.

The fold is that of the read models (`rows.py`), so the two cannot disagree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from events import session_events as e
from events.breaker import BreakerState
from events.log import Stored
from events.session import State
from projections import rows, story
from projections.facts import Fact, Stuck, session_fact
from projections.rows import Row
from projections.story import clock, failure

S = State

TOLD = 5
"""Failures in a row that are told one by one: the newest."""


class Unreadable(Exception):
    """The log holds at `position` what this version does not understand."""

    def __init__(self, position: int) -> None:
        super().__init__(f"position {position} of the log cannot be read by this version")
        self.position = position


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the story. `causes` are ids of events, `command` that of a command.

    `word` is the status outside after it.
    """

    id: str
    version: int
    position: int
    at: datetime
    kind: str
    text: str
    word: str
    node: str | None
    causes: tuple[str, ...]
    command: str | None


@dataclass(frozen=True, slots=True)
class Spell:
    """A time of being ready; `until` is None while it lasts."""

    since: datetime
    until: datetime | None = None


class Timeline:
    """One session's events up to a moment; of its present life the newest `limit` are kept."""

    def __init__(
        self, limit: int, until: datetime | None = None, before: int | None = None
    ) -> None:
        """`until`: the moment, None for now. Kept are those below version `before`, if given."""
        self._until, self._before = until, before
        self.row = Row()
        self.happenings: deque[Happening] = deque(maxlen=limit)
        self.first = 0
        self._newest: dict[str, str] = {}
        self._ids: set[str] = set()
        self._failures: list[tuple[datetime, str]] = []
        self._outage: list[tuple[datetime, str]] = []
        self._ready: Spell | None = None
        self._away: Spell | None = None
        self._left = ""
        self._came: str | None = None
        self._crash: e.Crashed | None = None
        self._plan: e.BackingOff | None = None

    def take(self, stored: Stored) -> bool:
        """Fold the next event; False if it is later than the moment. Raises Unreadable."""
        try:
            fact = session_fact(stored)
        except Stuck as stuck:
            raise Unreadable(stuck.position) from stuck
        if self._until is not None and fact.at > self._until:
            return False
        was = self.row.session.state
        change = rows.fold(self.row, [fact])
        if change.stuck is not None:
            raise Unreadable(change.stuck.position) from change.stuck
        if change.writes:
            self.row = change.row
            self._keep(stored, fact, was)
        return True

    @property
    def more(self) -> bool:
        """Whether its present life has events before those that are kept."""
        return bool(self.happenings) and self.happenings[0].version > self.first

    def why(self, now: datetime) -> list[str]:
        """Say what the session does at that moment and what led there, a sentence each."""
        return list(self._sentences(now))

    # --- keeping ------------------------------------------------------------------

    def _keep(self, stored: Stored, fact: Fact[e.SessionEvent], was: State) -> None:
        event, envelope, now = fact.event, stored.envelope, self.row.session
        if isinstance(event, e.Registered):
            self._begin(fact.version)
        asked = envelope.causationid
        causes = [asked] if asked in self._ids else []
        causes += [
            self._newest[kind]
            for kind in sorted(story.causes_of(event))
            if kind in self._newest and self._newest[kind] not in causes
        ]
        if self._before is None or fact.version < self._before:
            self.happenings.append(
                Happening(
                    id=envelope.id,
                    version=fact.version,
                    position=fact.position,
                    at=fact.at,
                    kind=event.kind,
                    text=story.sentence(event, fact.at, fact.node),
                    word=now.word,
                    node=fact.node,
                    causes=tuple(causes),
                    command=asked if asked not in self._ids else None,
                )
            )
        self._newest[event.kind] = envelope.id
        self._ids.add(envelope.id)
        self._note(event, fact.at, was)

    def _begin(self, version: int) -> None:
        """Start anew: what was before is another session's of the same name."""
        self.happenings.clear()
        self._newest.clear()
        self._ids.clear()
        self._failures.clear()
        self.first = version
        self._ready = self._away = self._came = None

    def _note(self, event: e.SessionEvent, at: datetime, was: State) -> None:
        now = self.row.session
        if isinstance(event, e.Crashed):
            self._crash = event
            self._failures.append((at, event.reason))
            self._outage.append((at, event.reason))
        if not now.failures:
            self._failures.clear()
        if isinstance(event, e.BackingOff):
            self._plan = event
        if isinstance(event, e.Queued):
            self._came = story.wanted(event)
        if now.state is S.READY and was is not S.READY:
            self._away = Spell(self._ready.until, at) if self._ready and self._ready.until else None
            self._ready = Spell(at)
        elif was is S.READY and now.state is not S.READY and self._ready is not None:
            self._ready = Spell(self._ready.since, at)
            crashed = isinstance(event, e.Crashed)
            self._outage = self._outage[-1:] if crashed else []
            self._left = (
                story.given_up(event) if crashed else story.sentence(event, at, self.row.node)
            )

    # --- telling ------------------------------------------------------------------

    def _sentences(self, now: datetime) -> Iterator[str]:
        yield self._headline(now)
        session = self.row.session
        if session.state is S.READY:
            if self._away is not None:
                yield self._back(self._away, now)
        elif session.state not in {S.NOTHING, S.REMOVED}:
            if len(self._failures) > 1:
                yield f"It failed {len(self._failures)} times in a row: {self._failed(now)}."
            yield self._last_ready(now)
            if session.linked:
                yield "It is linked: no phone need scan anything."
        if session.page.state is not BreakerState.CLOSED:
            until = f" until {clock(session.page.until, now)}" if session.page.until else ""
            failed = session.page.failures
            yield f"Calls into its page are paused{until}: they failed {failed} times."

    def _failed(self, now: datetime) -> str:
        """Tell the failures in a row, those of one kind together."""
        runs: list[tuple[list[str], str]] = []
        for at, reason in self._failures[-TOLD:]:
            if not runs or runs[-1][1] != reason:
                runs.append(([], reason))
            runs[-1][0].append(clock(at, now))
        told = "; ".join(f"{failure(reason)} ({', '.join(times)})" for times, reason in runs)
        return told if len(self._failures) <= TOLD else f"last {told}"

    def _back(self, away: Spell, now: datetime) -> str:
        since, until = clock(away.since, now), clock(away.until or now, now)
        times = len(self._outage)
        often = f", and failed {times} times until it was back" if times > 1 else ""
        return f"It was away from {since} to {until}: {self._left}{often}."

    def _last_ready(self, now: datetime) -> str:
        if self._ready is None or self._ready.until is None:
            return "It was never ready."
        return (
            f"It was ready last from {clock(self._ready.since, now)} "
            f"to {clock(self._ready.until, now)}."
        )

    def _headline(self, now: datetime) -> str:
        session = self.row.session
        if session.state in {S.NOTHING, S.REMOVED}:
            return "There is no such session."
        since = clock(session.since or now, now)
        doing = _DOING[session.state]
        said = [part for part in (self._because(), self._next(now)) if part]
        return f"{doing} since {since}{': ' if said else ''}{'; '.join(said)}."

    def _because(self) -> str | None:
        session = self.row.session
        reason = session.reason or "?"
        match session.state:
            case S.BACKING_OFF | S.SUSPENDED if self._crash is not None:
                return story.given_up(self._crash)
            case S.QUEUED | S.STARTING | S.PAIRING | S.AUTHENTICATED if self._failures:
                return f"after {failure(self._failures[-1][1])}"
            case S.QUEUED | S.STARTING:
                return self._came
            case S.PAIRING:
                return "no phone has scanned its code yet"
            case S.OFFLINE:
                return f"WhatsApp's connection is away ({reason})"
            case S.PARKED:
                return story.ELSEWHERE.get(reason, reason)
            case S.RESTING:
                return story.UNSCANNED.get(reason, reason)
            case S.BLOCKED:
                return f"WhatsApp says {reason}"
            case S.LOGGED_OUT:
                return story.LEFT.get(reason, reason)
            case S.STOPPED:
                return "it was told to" if reason == "command" else reason
            case _:
                return None

    def _next(self, now: datetime) -> str | None:
        session = self.row.session
        if session.deadline is None:
            return None
        until = clock(session.deadline, now)
        match session.state:
            case S.BACKING_OFF if self._plan is not None:
                return f"attempt {self._plan.attempt} of {self._plan.max_attempts} at {until}"
            case S.SUSPENDED:
                return f"one try at {until}"
            case S.PAIRING:
                return f"code {session.qr_attempt} is good until {until}"
            case S.OFFLINE:
                return f"it has until {until} to come back by itself"
            case S.STARTING | S.AUTHENTICATED:
                return f"it has until {until}"
            case _:
                return None


_DOING: dict[State, str] = {
    S.REGISTERED: "Waiting for its node",
    S.QUEUED: "Waiting for a browser",
    S.STARTING: "Starting",
    S.PAIRING: "Showing a code",
    S.AUTHENTICATED: "Linked and synchronising",
    S.READY: "Ready",
    S.OFFLINE: "Disconnected",
    S.BACKING_OFF: "Reconnecting",
    S.SUSPENDED: "Suspended",
    S.PARKED: "Set aside",
    S.RESTING: "At rest",
    S.BLOCKED: "Blocked",
    S.STOPPED: "Stopped",
    S.LOGGED_OUT: "Logged out",
}
