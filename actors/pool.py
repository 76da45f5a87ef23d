"""The pool: supervises a node's sessions and decides who may be created.

A session that dies is started anew from the log after a pause. Browsers start
a few at a time. Limits are exact under concurrency, because `registered` is
guarded by the tail of every `registered` there is: of two racing creates one
is refused by the broker, folds again, and decides anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pykka
import structlog

from actors import session_messages as to_session
from actors.inbox import Delivered, Inbox
from actors.mailbox import contained, tell
from actors.parts import Parts
from actors.pool_messages import (
    Boot,
    CreateCame,
    Died,
    Forgotten,
    Grant,
    Halt,
    Lost,
    Outdated,
    PoolMessage,
    Revive,
    SlotDone,
    Sweep,
    Swept,
    WantSlot,
)
from actors.roster import Roster
from actors.session import SessionActor
from actors.sightings import OUTDATED
from events import codec, live, subjects
from events import session as rules
from events import session_events as e
from events.backoff import Backoff
from events.breaker import Breaker, BreakerState, Try
from events.log import Conflict, Guard, LogAway, LogError, Unknown
from events.pool import (
    Create,
    CreateRefusal,
    CreateRefused,
    LaunchesPaused,
    LaunchesProbed,
    LaunchesResumed,
    NodeStarted,
    NodeStopped,
    PoolEvent,
)
from events.session import Session, State
from events.subjects import BadToken, SessionId

SWEEP = 5.0
"""Seconds between looks for the dead and the forgotten."""

AGAIN = 1.0
STATUS_OF: dict[CreateRefusal, int] = {
    "user_limit": 429,
    "pool_full": 503,
    "id_taken": 409,
    "bad_id": 400,
    "launches_paused": 503,
}
SOFTWARE = "wa-sessions 0.1.0"


class PoolActor(pykka.ThreadingActor):
    """One for each node."""

    def __init__(self, parts: Parts, died: Callable[[], None]) -> None:
        """`died` is called when the pool itself fails: nobody supervises the sessions then."""
        super().__init__()
        self._parts, self._died = parts, died
        settings = parts.settings
        self._roster = Roster(settings.max_sessions, settings.max_sessions_per_user)
        self._actors: dict[SessionId, pykka.ActorRef[SessionActor]] = {}
        self._deaths: dict[SessionId, int] = {}
        self._reviving: set[SessionId] = set()
        self._holding: dict[SessionId, Try] = {}
        self._queue: deque[SessionId] = deque()
        self._creates: Inbox | None = None
        self._tail = 0
        self._version = 0
        self._launches: Breaker = Breaker(
            settings.node_breaker_failures, settings.node_breaker_reset
        )
        self._failing: set[SessionId] = set()
        self._outdated = False
        self._revival = Backoff(settings.backoff_first, settings.backoff_max)
        self._log = structlog.get_logger()

    # --- mailbox ----------------------------------------------------------------

    def on_start(self) -> None:
        # One line only: pykka calls no on_failure when this raises.
        self.actor_ref.tell(Boot())

    def on_receive(self, message: Any) -> None:
        with contained():
            self._receive(message)

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self._log.critical("pool.died", error=exception_type.__name__)
        self._died()

    def _tell_me(self, message: PoolMessage) -> None:
        tell(self.actor_ref, message)

    def _receive(self, message: PoolMessage) -> None:
        match message:
            case Boot():
                self._boot()
            case CreateCame(delivered):
                self._create(delivered)
            case WantSlot(session):
                self._want_slot(session)
            case SlotDone(session, started, reason):
                self._launched(session, started, reason)
                self._slot_done(session)
            case Outdated():
                self._outdated = True
            case Grant():
                self._grant()
            case Died(session):
                self._slot_done(session)
                self._revive_later(session)
            case Revive(session):
                self._reviving.discard(session)
                if session in self._roster.sessions:
                    self._start(session)
            case Lost(session):
                self._slot_done(session)
                self._actors.pop(session, None)
            case Forgotten(session):
                self._slot_done(session)
                self._forget(session)
            case Sweep():
                self._sweep()
            case Swept(waiting):
                self._swept(waiting)
            case Halt():
                self._halt()

    # --- a life -----------------------------------------------------------------

    def _boot(self) -> None:
        try:
            self._read_own_family()
            self._fold()
        except LogError as error:
            self._log.warning("pool.log_away", error=str(error))
            self._later(AGAIN, Boot())
            return
        for session in self._roster.sessions:
            self._start(session)
        self._record(
            NodeStarted(
                sessions=len(self._roster.sessions),
                max_sessions=self._roster.max_sessions,
                max_per_user=self._roster.max_per_user,
                software=SOFTWARE,
            ),
            None,
        )
        self._creates = self._parts.loop.wait(
            self._parts.wire.open_creates(lambda d: self._tell_me(CreateCame(d)))
        )
        self._later(SWEEP, Sweep())
        self._log.info("pool.started", sessions=len(self._actors))

    def _halt(self) -> None:
        """Stop every session in parallel and wait for all."""
        if self._creates is not None:
            self._creates.close()
        refs = [ref for ref in self._actors.values() if ref.is_alive()]
        for ref in refs:
            tell(ref, to_session.Halt())
        for ref in refs:
            ref.actor_stopped.wait(20)
        self._record(NodeStopped(reason="asked"), None)
        self.stop()

    def _start(self, session: SessionId) -> None:
        held = self._actors.get(session)
        if held is not None and held.is_alive():
            return
        self._actors[session] = SessionActor.start(session, self._parts, self._tell_me)

    def _revive_later(self, session: SessionId) -> None:
        if session in self._reviving or session not in self._roster.sessions:
            return
        self._reviving.add(session)
        deaths = self._deaths[session] = self._deaths.get(session, 0) + 1
        self._later(self._revival.delay(deaths, session.dotted), Revive(session))

    def _forget(self, session: SessionId) -> None:
        self._actors.pop(session, None)
        self._deaths.pop(session, None)
        try:
            self._fold()
        except LogError as error:
            self._log.info("pool.fold_failed", error=str(error))

    def _later(self, delay: float, message: PoolMessage) -> None:
        self._parts.clock.after(delay, lambda: self._tell_me(message))

    # --- creating ---------------------------------------------------------------

    def _create(self, delivered: Delivered) -> None:
        cause = delivered.envelope
        try:
            create = codec.payload_of(cause)
            if not isinstance(create, Create):
                delivered.receipt.dead(f"{cause.type} is no create")
                return
            # Not the envelope's word: a permission to create is one for the subject.
            session = SessionId(delivered.subject.split(".")[3], create.bot)
        except (codec.Undecodable, BadToken) as error:
            delivered.receipt.dead(str(error))
            return
        try:
            self._register_or_run(session, create, delivered)
        except (Unknown, LogAway) as error:
            # The queue brings it again; by then the log tells whether it was registered.
            self._log.warning("pool.create_delayed", error=str(error))
            delivered.receipt.later(AGAIN)

    def _register_or_run(self, session: SessionId, create: Create, delivered: Delivered) -> None:
        if not self._is_alive(session):
            # Its removal may be on the log and not yet heard of.
            self._fold()
        while True:
            if session in self._roster.sessions:
                self._start(session)
                self._run(session, create, delivered)
                return
            refusal = self._roster.refusal(session) or self._paused(session)
            if refusal is not None and not self._fold_changed():
                self._refuse(session, refusal, delivered)
                return
            if refusal is None:
                try:
                    self._register(session, create, delivered.envelope.id)
                except Conflict:
                    self._fold()
                else:
                    self._start(session)
                    delivered.receipt.done()
                    return

    def _paused(self, session: SessionId) -> CreateRefused | None:
        if self._launches.retry_in(self._parts.clock.now()) <= 0:
            return None
        return CreateRefused(
            user=session.user,
            bot=session.bot,
            reason="launches_paused",
            detail="every start fails right now; nothing is launched but one probe",
        )

    def _register(self, session: SessionId, create: Create, cause: str) -> None:
        before = self._parts.loop.wait(self._versions(session))
        event = e.Registered(user=session.user, bot=session.bot, start=create.start)
        now = self._parts.clock.now()
        after = rules.evolve(before, event, now)
        node = self._parts.settings.node
        envelope = codec.seal(
            event,
            subject=session.dotted,
            source=f"wa/node/{node}",
            at=now,
            causation=cause,
            node=node,
            version=after.version,
        )
        subject = subjects.session_event(session, event.kind)
        guard = Guard(subjects.ALL_REGISTERED, self._roster.tail)
        position = self._parts.loop.wait(self._parts.log.append(subject, envelope, guard))
        self._roster.apply(session, event.kind, position)
        self._log.info("pool.registered", session=str(session))

    async def _versions(self, session: SessionId) -> Session:
        """Fold what a removed session of this id left: its versions go on."""
        folded = Session()
        async for stored in self._parts.log.read([subjects.session_family(session)]):
            envelope = stored.envelope
            folded = rules.evolve(folded, codec.session_event_of(envelope), envelope.time)
        if folded.state not in {State.NOTHING, State.REMOVED}:
            raise Conflict(session.dotted, 0, folded.version)
        return folded

    def _run(self, session: SessionId, create: Create, delivered: Delivered) -> None:
        command = e.Reset(fresh=True) if create.fresh else e.Start()
        tell(self._actors[session], to_session.Told(command, delivered))

    def _refuse(self, session: SessionId, refusal: CreateRefused, delivered: Delivered) -> None:
        if refusal.reason == "launches_paused":
            self._launches = replace(self._launches, rejected=self._launches.rejected + 1)
        self._record(refusal, delivered.envelope.id)
        notice = live.Refused(
            command=delivered.envelope.id,
            reason=refusal.reason,
            detail=refusal.detail,
            status=STATUS_OF[refusal.reason],
            retry_after=self._launches.retry_in(self._parts.clock.now()) or 60,
        )
        self._notice(session, notice)
        delivered.receipt.done()

    def _fold_changed(self) -> bool:
        before = self._roster.read_to
        self._fold()
        return self._roster.read_to != before

    def _fold(self) -> None:
        """Bring the roster up to date with the log."""

        async def read() -> None:
            filters = [subjects.ALL_REGISTERED, subjects.ALL_REMOVED]
            async for stored in self._parts.log.read(filters, self._roster.read_to + 1):
                parts = stored.subject.split(".")
                self._roster.apply(SessionId(parts[3], parts[4]), parts[5], stored.position)

        self._parts.loop.wait(read())

    # --- slots ------------------------------------------------------------------

    def _want_slot(self, session: SessionId) -> None:
        if session not in self._queue and session not in self._holding:
            self._queue.append(session)
        self._grant()

    def _slot_done(self, session: SessionId) -> None:
        tried = self._holding.pop(session, None)
        if tried is not None:
            # Where its outcome was told before, the breaker has gone on and this changes nothing.
            self._launches = self._launches.abandoned(tried)
        if session in self._queue and not self._is_alive(session):
            self._queue.remove(session)
        self._grant()

    def _grant(self) -> None:
        while self._queue and len(self._holding) < self._parts.settings.start_concurrency:
            session = self._queue[0]
            if not self._is_alive(session):
                self._queue.popleft()
                continue
            granted = self._admit(session) if self._has_memory() else None
            if granted is None:
                break
            self._queue.popleft()
            self._holding[session] = granted
            tell(self._actors[session], to_session.SlotFree())
        for position, session in enumerate(self._queue, 1):
            self._notice(session, live.QueuePosition(position=position))

    def _has_memory(self) -> bool:
        """Whether the machine can carry one more browser; looked at again after a while."""
        if self._parts.machine.available_mb() >= self._parts.settings.memory_reserve_mb:
            return True
        self._log.warning("pool.no_memory", waiting=len(self._queue))
        self._later(SWEEP, Grant())
        return False

    def _admit(self, session: SessionId) -> Try | None:
        """Ask the launch breaker: when every start fails, only one probe is made at a time."""
        before = self._launches
        granted, self._launches = before.admit(self._parts.clock.now())
        if self._launches.state is BreakerState.HALF_OPEN and before.state is BreakerState.OPEN:
            probed = LaunchesProbed(
                session=str(session),
                rejected=self._launches.rejected,
                failures=self._launches.failures,
            )
            self._record(probed, None)
        return granted

    def _launched(self, session: SessionId, started: bool | None, reason: str | None) -> None:
        """Learn from how a start ended. One session that fails again and again is its own."""
        tried, before = self._holding.get(session), self._launches
        if tried is None or started is None or not before.counts(tried):
            return
        if started:
            self._failing.clear()
            self._outdated = False
            self._launches = before.succeeded(tried)
        else:
            rejected = reason == OUTDATED
            if session in self._failing and before.state is BreakerState.CLOSED and not rejected:
                return
            self._failing.add(session)
            if rejected and self._outdated:
                # Every session gets the same page, so one reload is all the proof it takes.
                enough = max(before.failures, before.threshold - 1)
                self._launches = replace(before, failures=enough)
            self._outdated = self._outdated or rejected
            self._launches = self._launches.failed(tried, self._parts.clock.now())
        self._tell_launches(before, reason)

    def _tell_launches(self, before: Breaker, reason: str | None) -> None:
        after = self._launches
        if after.state is BreakerState.OPEN and after.until != before.until:
            self._log.error("pool.launches_paused", reason=reason, failures=after.failures)
            paused = LaunchesPaused(
                reason=reason or "unknown",
                failures=after.failures,
                retry_in=after.reset,
                rejected=after.rejected,
            )
            self._record(paused, None)
            self._later(after.reset + 0.01, Grant())
        elif after.state is BreakerState.CLOSED and before.state is not BreakerState.CLOSED:
            self._log.info("pool.launches_resumed")
            self._record(LaunchesResumed(rejected=after.rejected), None)

    def _is_alive(self, session: SessionId) -> bool:
        held = self._actors.get(session)
        return held is not None and held.is_alive()

    # --- sweeping ---------------------------------------------------------------

    def _sweep(self) -> None:
        for session in list(self._actors):
            if not self._is_alive(session):
                self._log.warning("pool.found_dead", session=str(session))
                self._slot_done(session)
                self._revive_later(session)
        self._parts.loop.run(
            self._parts.wire.waiting(),
            then=lambda waiting: self._tell_me(Swept(waiting)),
            failed=lambda error: self._log.debug("pool.sweep_failed", error=repr(error)),
        )
        self._later(SWEEP, Sweep())

    def _swept(self, waiting: dict[SessionId, int]) -> None:
        strangers = [session for session in waiting if session not in self._roster.sessions]
        if strangers:
            try:
                self._fold()
            except LogError:
                return
        for session in waiting:
            if self._is_alive(session):
                tell(self._actors[session], to_session.Overdue())
            elif session not in self._roster.sessions:
                self._bury(session)

    def _bury(self, session: SessionId) -> None:
        def refuse(commands: list[str]) -> None:
            for command in commands:
                refused = live.Refused(
                    command=command, reason="unknown_session", detail="no such session", status=404
                )
                self._notice(session, refused)

        self._parts.loop.run(
            self._parts.wire.bury(session, "unknown_session"),
            then=refuse,
            failed=lambda error: self._log.info("pool.bury_failed", error=repr(error)),
        )

    # --- outside ----------------------------------------------------------------

    def _notice(self, session: SessionId, notice: live.LiveNotice) -> None:
        self._parts.loop.run(
            self._parts.wire.notice(session, notice), then=_nothing, failed=_nothing
        )

    def _read_own_family(self) -> None:
        family = subjects.pool_family(self._parts.settings.node)

        async def read() -> None:
            async for stored in self._parts.log.read([family]):
                self._tail = stored.position
                self._version = stored.envelope.version or self._version

        self._parts.loop.wait(read())

    def _record(self, event: PoolEvent, cause: str | None) -> None:
        """Append an event of the pool's own. It guards nothing but its order."""
        try:
            try:
                self._append(event, cause)
            except Conflict:
                # A timed-out write of an earlier life landed late: go on behind it.
                self._read_own_family()
                self._append(event, cause)
        except LogError as error:
            self._log.warning("pool.event_lost", kind=event.kind, error=str(error))

    def _append(self, event: PoolEvent, cause: str | None) -> None:
        node = self._parts.settings.node
        envelope = codec.seal(
            event,
            subject=node,
            source=f"wa/node/{node}",
            at=self._parts.clock.now(),
            causation=cause,
            node=node,
            version=self._version + 1,
        )
        subject = subjects.pool_event(node, event.kind)
        guard = Guard(subjects.pool_family(node), self._tail)
        self._tail = self._parts.loop.wait(self._parts.log.append(subject, envelope, guard))
        self._version += 1


def _nothing(_: object) -> None:
    """Nobody waits for a notice."""
