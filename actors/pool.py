"""The pool: supervises a node's sessions.

A session that dies is started anew from the log after a pause; one that waits
for a browser gets its turn; commands for sessions that do not exist are buried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka
import structlog

from actors import leases
from actors import session_messages as to_session
from actors.admission import Admission
from actors.children import Children
from actors.draining import Drain
from actors.inbox import Delivered, Inbox
from actors.launches import Launches
from actors.mailbox import contained, tell
from actors.parts import Parts
from actors.pool_messages import (
    Boot,
    CreateCame,
    Died,
    DrainAsked,
    Forgotten,
    Grant,
    Halt,
    Halted,
    HaltNow,
    Heard,
    Leaving,
    Lost,
    OfSession,
    Outdated,
    PoolMessage,
    Revive,
    SlotDone,
    Sweep,
    Swept,
    Told,
    WantSlot,
    Yielded,
)
from actors.pool_recorder import PoolRecorder
from actors.registry import Registry
from actors.tenure import Leased, Looked, Tenure
from events import codec, live
from events import session_events as e
from events.log import LogError
from events.pool import Create, NodeStarted, NodeStopped
from events.subjects import SessionId

SWEEP = 5.0
"""Seconds between looks for the dead and the forgotten, at most."""

LOOKS = 3
"""How often in the life of a lease a node looks for leases that ran out, at least."""

AGAIN = 1.0
"""Seconds until a boot is tried again that found no log."""

SOFTWARE = "wa-sessions 0.1.0"


class PoolActor(pykka.ThreadingActor):
    """One for each node."""

    def __init__(self, parts: Parts, died: Callable[[], None]) -> None:
        """`died` is called when the pool itself fails: nobody supervises the sessions then."""
        super().__init__()
        self._parts, self._died = parts, died
        settings = parts.settings
        self._sweep_every = min(SWEEP, settings.lease_ttl / LOOKS)
        self._children = Children(parts, tell_pool=self._tell_me, later=self._later)
        self._creates: Inbox | None = None
        self._drain: Drain | None = None
        self._ending = False
        self._begun_again: set[SessionId] = set()
        self._registry = Registry(parts)
        self._recorder = PoolRecorder(parts)
        self._launches = Launches(
            parts,
            self._recorder,
            is_alive=self._children.is_alive,
            let=lambda session: self._children.tell(session, to_session.SlotFree()),
            tell_place=lambda session, place: self._notice(
                session, live.QueuePosition(position=place)
            ),
            again_in=lambda delay: self._later(delay, Grant()),
        )
        self._tenure = Tenure(parts, registered=lambda: self._registry.sessions, tell=self._tell_me)
        self._admission = Admission(
            parts,
            self._registry,
            self._launches,
            self._recorder,
            is_alive=self._children.is_alive,
            is_leaving=self._children.is_leaving,
            start=self._start,
            run=self._run,
            notice=self._notice,
        )
        self._log = structlog.get_logger()

    @property
    def launching(self) -> int:
        """How many sessions launch now; other threads ask by proxy."""
        return self._launches.under_way

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
                self._admission.take(delivered)
            case Told():
                if self._children.is_news(message):
                    self._hear_session(message.word)
            case Grant():
                self._launches.grant()
            case Revive(session):
                self._children.revived(session)
                self._start_or_drop(session)
            case Sweep():
                self._sweep()
            case Swept(waiting):
                self._swept(waiting)
            case Looked():
                self._looked(message)
            case Leased(session):
                self._leased(message, session)
            case Heard(news):
                self._heard(news)
            case DrainAsked(reply):
                self._drain_asked(reply)
            case Halt():
                self._halt()
            case HaltNow():
                self._halt_now()

    def _hear_session(self, word: OfSession) -> None:
        match word:
            case WantSlot(session):
                self._launches.want(session)
            case SlotDone(session, started, reason):
                self._launches.ended(session, started, reason)
                self._launches.give_back(session)
            case Outdated():
                self._launches.outdated()
            case Died(session):
                self._fell(session)
            case Lost(session):
                self._let_go(session, hand_over=False)
            case Yielded(session):
                self._yielded(session)
            case Halted(session):
                self._let_go(session, hand_over=True)
            case Leaving(session):
                self._launches.give_back(session)
            case Forgotten(session):
                self._let_go(session, hand_over=False)
                self._children.forget(session)
                self._fold()

    # --- a life -----------------------------------------------------------------

    def _boot(self) -> None:
        try:
            self._recorder.read()
            self._registry.fold()
            self._parts.loop.wait(self._parts.leases.open(lambda n: self._tell_me(Heard(n))))
        except (LogError, leases.LeaseAway) as error:
            self._log.warning("pool.log_away", error=str(error))
            self._later(AGAIN, Boot())
            return
        self._tenure.say()
        self._tenure.look()
        self._recorder.record(
            NodeStarted(
                sessions=len(self._registry.sessions),
                max_sessions=self._parts.settings.max_sessions,
                max_per_user=self._parts.settings.max_sessions_per_user,
                software=SOFTWARE,
            )
        )
        self._creates = self._parts.loop.wait(
            self._parts.wire.open_creates(lambda d: self._tell_me(CreateCame(d)))
        )
        self._parts.loop.wait(
            self._parts.wire.open_node(
                self._parts.settings.node, lambda reply: self._tell_me(DrainAsked(reply))
            )
        )
        self._later(self._sweep_every, Sweep())
        self._open_or_close()
        self._log.info("pool.started", sessions=len(self._registry.sessions))

    def _halt(self) -> None:
        """Hand over what others take, and stop."""
        self._ending = True
        if self._creates is not None:
            self._creates.close()
        if any(word.has_room for word in self._parts.leases.others()):
            self._later(self._parts.settings.drain_timeout, HaltNow())
            self._begin_drain()
        else:
            self._halt_now()

    def _halt_now(self) -> None:
        """Stop every session in parallel and wait for all."""
        self._children.halt()
        self._end()

    def _end(self) -> None:
        self._tenure.leave_all()
        self._recorder.record(NodeStopped(reason="asked"))
        self.stop()

    def _start(self, session: SessionId) -> None:
        """Bring a session up, once this node has its lease."""
        here = self._children.is_alive(session) or self._children.is_leaving(session)
        if here or self._ending or self._tenure.leaving:
            return
        if self._tenure.holds(session):
            self._begin(session)
        else:
            self._tenure.want(session)

    def _begin(self, session: SessionId) -> None:
        # What the life before still says of its launch is old news.
        self._launches.give_back(session)
        self._children.start(session)

    def _run(self, session: SessionId, create: Create, delivered: Delivered) -> None:
        command = e.Reset(fresh=True) if create.fresh else e.Start()
        self._children.tell(session, to_session.Told(command, delivered))

    def _fell(self, session: SessionId) -> None:
        """Have a session come back whose actor failed: here after a pause, or elsewhere."""
        self._launches.give_back(session)
        if self._tenure.leaving:
            self._hand_over_fallen(session)
        elif self._tenure.holds(session) and session in self._registry.sessions:
            self._children.revive_later(session)
        else:
            self._let_go(session, hand_over=False)

    def _hand_over_fallen(self, session: SessionId) -> None:
        """Begin a session once more, only to hand it over as the others are: with its profile."""
        if session in self._begun_again or not self._tenure.holds(session):
            self._let_go(session, hand_over=True)
            return
        self._begun_again.add(session)
        self._begin(session)
        self._children.tell(session, to_session.Halt())

    def _start_or_drop(self, session: SessionId) -> None:
        if session in self._registry.sessions:
            self._start(session)
        elif session in self._children.dead:
            self._children.drop(session)

    def _fold(self) -> None:
        try:
            self._registry.fold()
        except LogError as error:
            self._log.info("pool.fold_failed", error=str(error))

    def _later(self, delay: float, message: PoolMessage) -> None:
        self._parts.clock.after(delay, lambda: self._tell_me(message))

    # --- many nodes -------------------------------------------------------------

    def _leased(self, answer: Leased, session: SessionId) -> None:
        if self._tenure.leased(answer):
            if session in self._registry.sessions:
                self._start(session)
            else:
                self._tenure.give_up(session, hand_over=False)
        self._open_or_close()

    def _looked(self, seen: Looked) -> None:
        if seen.held - set(self._registry.sessions):
            self._fold()
        self._tenure.looked(seen)
        self._open_or_close()

    def _heard(self, news: leases.News) -> None:
        match news:
            case leases.Lost(session):
                # The browser goes first, then the actor; nothing is written.
                self._tenure.lost(session)
                self._children.tell(session, to_session.Yield())
            case leases.Lapsed(session):
                self._children.tell(session, to_session.Doubted())
            case leases.AccountLost(session):
                self._children.tell(session, to_session.AccountTaken())
            case leases.Freed(session):
                if session in self._registry.sessions:
                    self._tenure.freed(session)
                else:
                    self._fold()
                    self._tenure.look()

    def _yielded(self, session: SessionId) -> None:
        self._launches.give_back(session)
        self._children.drop(session)
        if self._drain is not None:
            self._drain.gone(session)
        elif self._tenure.holds(session):
            # The lease came back before the browser had gone.
            self._start(session)

    def _let_go(self, session: SessionId, *, hand_over: bool) -> None:
        self._launches.give_back(session)
        self._children.drop(session)
        self._tenure.give_up(session, hand_over=hand_over)
        if self._drain is not None:
            self._drain.gone(session)

    def _drain_asked(self, reply: Callable[[bytes], None]) -> None:
        if self._drain is None and not any(w.has_room for w in self._parts.leases.others()):
            detail = "no other node has room for its sessions"
            reply(codec.answer_error("nowhere_to_go", detail, 409))
            return
        self._begin_drain()
        left = self._drain.left if self._drain is not None else 0
        reply(codec.answer({"node": self._parts.settings.node, "left": left}))

    def _begin_drain(self) -> None:
        self._tenure.leave()
        self._open_or_close()
        if self._drain is not None:
            if not self._drain.left:
                self._drained()
            return
        for session in self._children.dead:
            self._hand_over_fallen(session)
        self._drain = Drain(
            [*self._children.alive, *self._children.leaving],
            self._recorder,
            at_once=self._parts.settings.start_concurrency,
            stop=lambda session: self._children.tell(session, to_session.Halt()),
            over=self._drained,
        )
        self._drain.begin()

    def _drained(self) -> None:
        self._log.info("pool.drained")
        if self._ending:
            self._end()

    def _open_or_close(self) -> None:
        """Take creates, or leave them to nodes that have room."""
        if self._creates is not None:
            self._creates.gate(self._tenure.takes_creates)

    # --- sweeping ---------------------------------------------------------------

    def _sweep(self) -> None:
        for session in self._children.dead:
            self._log.warning("pool.found_dead", session=str(session))
            self._fell(session)
        self._tenure.say()
        self._tenure.look()
        self._parts.loop.run(
            self._parts.wire.waiting(),
            then=lambda waiting: self._tell_me(Swept(waiting)),
            failed=lambda error: self._log.debug("pool.sweep_failed", error=repr(error)),
        )
        self._later(self._sweep_every, Sweep())

    def _swept(self, waiting: dict[SessionId, int]) -> None:
        strangers = [session for session in waiting if session not in self._registry.sessions]
        if strangers:
            try:
                self._registry.fold()
            except LogError:
                return
        for session in waiting:
            if self._children.is_alive(session):
                self._children.tell(session, to_session.Overdue())
            elif session not in self._registry.sessions:
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


def _nothing(_: object) -> None:
    """Nobody waits for a notice."""
