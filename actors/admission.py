"""Admission: a create becomes a registered session, a command to one, or a refusal."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from actors.inbox import Delivered
from actors.launches import Launches
from actors.parts import Parts
from actors.pool_recorder import PoolRecorder
from actors.registry import Registry
from events import codec, live
from events import session_events as e
from events.log import Conflict, LogAway, Unknown
from events.pool import Create, CreateRefusal, CreateRefused
from events.subjects import BadToken, SessionId

AGAIN = 1.0
"""Seconds until a create is looked at again that the log could not take."""

STATUS_OF: dict[CreateRefusal, int] = {
    "user_limit": 429,
    "pool_full": 503,
    "id_taken": 409,
    "bad_id": 400,
    "launches_paused": 503,
}


class Admission:
    """What one pool does about creates. Used on the pool's own thread only."""

    def __init__(
        self,
        parts: Parts,
        registry: Registry,
        launches: Launches,
        recorder: PoolRecorder,
        *,
        is_alive: Callable[[SessionId], bool],
        is_leaving: Callable[[SessionId], bool],
        start: Callable[[SessionId], None],
        run: Callable[[SessionId, Create, Delivered], None],
        notice: Callable[[SessionId, live.LiveNotice], None],
    ) -> None:
        """`start` brings up a session's actor; `run` hands it what the create asks for.

        `is_leaving`: it was removed, and what is left of it is being deleted.
        """
        self._parts = parts
        self._registry, self._launches, self._recorder = registry, launches, recorder
        self._is_alive, self._is_leaving = is_alive, is_leaving
        self._start, self._run, self._notice = start, run, notice
        self._log = structlog.get_logger()

    def take(self, delivered: Delivered) -> None:
        """Take a create from the shared queue."""
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
        if self._is_leaving(session):
            # The clean-up goes by the id: it would take along what comes under it now.
            delivered.receipt.later(AGAIN)
            return
        if not self._is_alive(session):
            # Its removal may be on the log and not yet heard of.
            self._registry.fold()
        while True:
            if self._registry.made_by(session, delivered.envelope.id):
                self._start(session)
                delivered.receipt.done()
                return
            if session in self._registry.sessions:
                self._pass_on(session, create, delivered)
                return
            refusal = self._registry.refusal(session) or self._paused(session)
            if refusal is not None and not self._registry.fold():
                self._refuse(session, refusal, delivered)
                return
            if refusal is None:
                try:
                    self._registry.register(session, create, delivered.envelope.id)
                except Conflict:
                    self._registry.fold()
                else:
                    self._start(session)
                    delivered.receipt.done()
                    return

    def _pass_on(self, session: SessionId, create: Create, delivered: Delivered) -> None:
        """Hand a create to the session there is, which may be another node's, or nobody's yet."""
        if self._is_alive(session):
            self._run(session, create, delivered)
            return
        self._start(session)
        command = e.Reset(fresh=True) if create.fresh else e.Start()
        self._parts.loop.run(
            self._parts.wire.forward(session, command, delivered.envelope),
            then=lambda _: delivered.receipt.done(),
            failed=lambda _: delivered.receipt.later(AGAIN),
        )

    def _paused(self, session: SessionId) -> CreateRefused | None:
        if self._launches.paused_for <= 0:
            return None
        return CreateRefused(
            user=session.user,
            bot=session.bot,
            reason="launches_paused",
            detail="every start fails right now; nothing is launched but one probe",
        )

    def _refuse(self, session: SessionId, refusal: CreateRefused, delivered: Delivered) -> None:
        if refusal.reason == "launches_paused":
            self._launches.reject()
        self._recorder.record(refusal, delivered.envelope.id)
        notice = live.Refused(
            command=delivered.envelope.id,
            reason=refusal.reason,
            detail=refusal.detail,
            status=STATUS_OF[refusal.reason],
            retry_after=self._launches.paused_for or 60,
        )
        self._notice(session, notice)
        delivered.receipt.done()
