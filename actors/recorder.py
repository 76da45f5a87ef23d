"""A session's pen: appends to the log under the session's fence, then evolves.

The order is the architecture: never evolve before the append returns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from actors.loop import LoopThread
from events import codec, subjects
from events import session as rules
from events.clock import Clock
from events.envelope import new_id
from events.log import Conflict, Guard, Log, Stored
from events.message import MessageEvent, Outbox, Received
from events.session import Session, State
from events.session_events import Claimed, Queued, Registered, SessionEvent, Totals
from events.session_facts import Claiming
from events.session_rules import Policy, decide
from events.settings import Settings
from events.subjects import SessionId

CLAIMS = 10
"""Attempts at a claim while late writes of an earlier life still land."""

MARGIN = timedelta(hours=1)
"""How far the clocks of clients, nodes, broker and WhatsApp may be apart."""


class NotMine(Exception):
    """The log holds no session of this id that could be owned: removed, or never registered."""


class Recorder:
    """Holds what is known of one session, and writes what is new. Blocks; one thread only."""

    def __init__(
        self,
        identity: SessionId,
        log: Log,
        loop: LoopThread,
        clock: Clock,
        *,
        settings: Settings,
        policy: Policy,
    ) -> None:
        self.identity = identity
        self.state = Session()
        self.outbox = Outbox()
        self.last_event: str | None = None
        self.rejected = 0
        self.node_before: str | None = None
        self.state_before = State.NOTHING
        self._log, self._loop, self._clock = log, loop, clock
        self._settings, self._policy = settings, policy
        self._tail = 0
        self._queued_by: set[str | None] = set()
        self._counted = Totals()
        self._first = self._message_position = 1
        self._known_since = self._forget_at = clock.now()

    # --- reading ----------------------------------------------------------------

    def was_queued_by(self, command: str) -> bool:
        """Whether a command had the session started anew in this life of its owner.

        What an earlier life did not see through is done again.
        """
        return command in self._queued_by

    @property
    def position(self) -> int:
        """Where the session's last event lies in the log."""
        return self._tail

    @property
    def from_elsewhere(self) -> bool:
        """Whether another node had the session before this one claimed it."""
        return self.node_before not in {None, self._settings.node}

    def verify(self) -> None:
        """Raise Conflict if somebody else has written since. Raises LogAway."""
        found = self._loop.wait(self._log.tail(self._guard.family))
        if found != self._tail:
            raise Conflict(self.identity.dotted, self._tail, found)

    def claim(self, ready: Callable[[], None]) -> None:
        """Read the session, append `claimed`, and read its messages. Raises NotMine, Conflict.

        A timed-out write of an earlier life can still land between reading and
        claiming; the claim then reads again. `ready` is called before each try, when
        it is known who had the session before.
        """
        for attempt in range(CLAIMS):
            self._read_session()
            if self.state.state in {State.NOTHING, State.REMOVED}:
                raise NotMine(str(self.identity))
            self.state_before = self.state.state
            ready()
            self._known_since = self._clock.now() - self._memory
            self._read_messages()
            claiming = Claiming(life=new_id(), totals=self.totals)
            try:
                for event in decide(
                    self.state, self.identity, claiming, self._clock.now(), self._policy
                ):
                    self.session(event)
            except Conflict:
                if attempt == CLAIMS - 1:
                    raise
            else:
                break
        # Older writers are refused from here on, so this reads the last of them.
        self._read_new_messages()

    def _read_session(self) -> None:
        self.state, self._tail, self._counted, self._first = Session(), 0, Totals(), 1
        self.node_before = None

        async def read() -> None:
            async for stored in self._log.read([subjects.session_family(self.identity)]):
                envelope = stored.envelope
                event = codec.session_event_of(envelope)
                self.state = rules.evolve(self.state, event, envelope.time)
                totals = getattr(event, "totals", None)
                if isinstance(event, Claimed):
                    self.node_before = envelope.node
                if isinstance(event, Registered):
                    # Created again: it counts from nothing, and only its versions go on.
                    totals = Totals(message_version=self._counted.message_version)
                if isinstance(totals, Totals):
                    # Not from the totals' own place: a write that timed out could land
                    # between the count and the claim that carries it. It cannot lie
                    # before the session event that its writer was fenced by.
                    self._counted, self._first = totals, self._tail + 1
                self._tail = stored.position
                self.last_event = envelope.id

        self._loop.wait(read())
        self.rejected = self.state.rejected

    def recall(self, since: datetime) -> None:
        """Know every message event stored since then. Costs nothing where it is known already.

        What is asked about may be older than what a claim reads: a command that
        waited for long, or a message that WhatsApp still keeps.
        """
        since -= MARGIN
        if since < self._known_since:
            self._known_since = since
            self._read_messages()

    def _read_messages(self) -> None:
        """Fold message events anew: all that are not in the totals, and the recent past."""
        self._forget_at = self._clock.now() + self._memory / 2
        self.outbox = Outbox(
            version=self._counted.message_version, watermark=self._counted.watermark
        )

        async def read() -> None:
            family = [subjects.message_family(self.identity)]
            async for stored in self._log.read(family, since=self._known_since):
                if stored.position < self._first:
                    self._fold(stored)

        self._loop.wait(read())
        self._message_position = self._first
        self._read_new_messages()

    def _read_new_messages(self) -> None:
        async def read() -> None:
            family = [subjects.message_family(self.identity)]
            async for stored in self._log.read(family, start=self._message_position):
                self._fold(stored)
                self._message_position = stored.position + 1

        self._loop.wait(read())

    def _fold(self, stored: Stored) -> None:
        envelope, outbox = stored.envelope, self.outbox
        version = envelope.version or 0
        held = (outbox.version, outbox.received, outbox.sent, outbox.failed)
        outbox.apply(codec.message_event_of(envelope), envelope.time)
        if version > self._counted.message_version:
            outbox.version = version
        else:
            # Counted already in the totals: only its ids are news.
            outbox.version, outbox.received, outbox.sent, outbox.failed = held

    @property
    def totals(self) -> Totals:
        """What was counted up to now."""
        return Totals(
            received=self._counted.received + self.outbox.received,
            sent=self._counted.sent + self.outbox.sent,
            failed=self._counted.failed + self.outbox.failed,
            reconnections=self.state.totals.reconnections,
            message_version=self.outbox.version,
            watermark=self.outbox.watermark,
        )

    @property
    def current(self) -> Session:
        """The state with what was counted up to now, for the rules to carry on."""
        return replace(self.state, totals=self.totals, rejected=self.rejected)

    # --- writing ----------------------------------------------------------------

    def session(self, event: SessionEvent, cause: str | None = None) -> None:
        """Append a session event; it moves the fence."""
        now = self._clock.now()
        envelope = codec.seal(
            event,
            subject=self.identity.dotted,
            source=f"wa/node/{self._settings.node}",
            at=now,
            causation=cause or self.last_event,
            node=self._settings.node,
            version=self.state.version + 1,
        )
        # Refused here, before the log: an illegal event must never be stored.
        after = rules.evolve(self.current, event, now)
        subject = subjects.session_event(self.identity, event.kind)
        self._tail = self._loop.wait(self._log.append(subject, envelope, self._guard))
        self.state = after
        if isinstance(event, Queued):
            self._queued_by.add(cause)
        self.rejected = after.rejected
        self.last_event = envelope.id

    def message(self, event: MessageEvent, cause: str | None = None) -> None:
        """Append a message event under the same fence."""
        fact = isinstance(event, Received)
        now = self._clock.now()
        envelope = codec.seal(
            event,
            subject=self.identity.dotted,
            source=f"wa/node/{self._settings.node}",
            at=now,
            causation=cause or self.last_event,
            node=self._settings.node,
            version=self.outbox.version + 1,
            # It states the same fact whoever writes it, so its id is made of the fact.
            event_id=_fact_id(self.identity, event.wa_id) if fact else None,
        )
        subject = subjects.message_event(self.identity, event.kind)
        ttl = self._settings.message_days * 86_400
        self._loop.wait(self._log.append(subject, envelope, self._guard, ttl))
        self.outbox.apply(event, now)
        if now >= self._forget_at:
            self._forget(now)

    def _forget(self, now: datetime) -> None:
        """Let go of sends that ended long ago; a command older than that is looked up anew.

        Now and then only: what a command from long ago had us read, the next may need as well.
        """
        self._forget_at = now + self._memory / 2
        self._known_since = max(self._known_since, now - self._memory)
        self.outbox.forget(self._known_since)

    @property
    def _memory(self) -> timedelta:
        return timedelta(seconds=self._settings.send_memory)

    @property
    def _guard(self) -> Guard:
        return Guard(subjects.session_family(self.identity), self._tail)


def _fact_id(identity: SessionId, wa_id: str) -> str:
    return hashlib.sha256(f"{identity.dotted}/{wa_id}".encode()).hexdigest()[:32]
