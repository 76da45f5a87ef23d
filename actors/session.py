"""A session: the actor that owns one headless browser.

Everything it learns is a message; everything it decides is an event on the log
before it is acted on. What the browser does runs on the loop thread and comes
back as a message that carries the life it belongs to: news of an earlier
browser is old news.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pykka

from actors import leftovers
from actors import pool_messages as to_pool
from actors.account import Account
from actors.answering import Answers
from actors.browser import protocol as b
from actors.catching_up import CatchUp
from actors.codes import Codes
from actors.deadlines import arm
from actors.inbox import Asked, Inbox
from actors.keeping import Keeper
from actors.loop import LoopStopped
from actors.mailbox import contained, depth, tell
from actors.operations import Operations, OperationsEvent
from actors.orders import Orders
from actors.overdue import OverdueSends
from actors.parts import Parts
from actors.pool_messages import OfSession
from actors.preserving import TIMER as SNAPSHOT
from actors.preserving import Preserver
from actors.probe import Probe
from actors.receiving import Receiver
from actors.recorder import NotMine
from actors.sending import RETRY, Sender, Tried
from actors.session_messages import (
    AccountTaken,
    Answered,
    Boot,
    Brought,
    BroughtBack,
    CaughtUp,
    Commanded,
    Doubted,
    Fetched,
    Halt,
    Message,
    OfBrowser,
    Overdue,
    Preserved,
    Replied,
    Sighted,
    SlotFree,
    Told,
    Unlinking,
    Weighed,
    Yield,
)
from actors.session_parts import SessionParts
from actors.slot import Slot
from actors.timers import Rang
from actors.trying import Tries
from actors.upkeep import Upkeep
from actors.witness import Witness
from events import session_events as e
from events.log import Conflict
from events.session import WITH_BROWSER, State
from events.session_events import SessionEvent
from events.session_facts import (
    Due,
    Fact,
    Failure,
    Launching,
    Quiet,
    Stale,
    Wanting,
)
from events.session_rules import decide
from events.subjects import SessionId
from events.traces import where

S = State

AT_ONCE = 500
"""Messages of a catch-up that are recorded before the mailbox has its turn."""


class SessionActor(pykka.ThreadingActor):
    """Owns one session."""

    def __init__(
        self, identity: SessionId, parts: Parts, pool: Callable[[OfSession], None]
    ) -> None:
        super().__init__()
        self.identity = identity
        self._parts, self._pool = parts, pool
        settings = parts.settings
        own = self._own = SessionParts.of(identity, parts, tell_me=self._tell_me, tell_pool=pool)
        self._recorder, self._life, self._timers = own.recorder, own.life, own.timers
        self._log = own.log
        keeper = Keeper(
            identity,
            parts.media,
            largest=settings.media_max_mb * 1_048_576,
            timeout=settings.media_timeout,
        )
        self._operations = Operations(
            settings.page_breaker_failures,
            settings.page_breaker_reset,
            parts.clock,
            self._record_operations,
        )
        self._probe = Probe(own)
        self._tries = Tries(own, self._operations)
        self._sender = Sender(self._recorder, parts.clock, parts.pace, self._tries.begin)
        self._overdue = OverdueSends(own, self._sender)
        self._catch_up = CatchUp(own, keeper)
        self._receiver = Receiver(self._recorder, self._sender, self._catch_up.keep)
        self._orders = Orders(own, self._record, self._note, self._probe.refresh_qr)
        self._answers = Answers(own, self._operations, keeper, self._note)
        self._upkeep = Upkeep(own, self._operations, lambda: depth(self.actor_inbox), self._note)
        self._slot = Slot(own)
        self._preserver = Preserver(own, self._record)
        self._codes = Codes(own, self._note)
        self._account = Account(own, self._note, self._probe.look_soon)
        self._witness = Witness(
            own,
            self._note,
            account=self._account,
            codes=self._codes,
            preserver=self._preserver,
            probe=self._probe,
            receiver=self._receiver,
        )
        self._inbox: Inbox | None = None
        self._over = False

    def _tell_me(self, message: Message) -> None:
        tell(self.actor_ref, message)

    def on_start(self) -> None:
        # One line only: pykka calls no on_failure when this raises.
        self.actor_ref.tell(Boot())

    def on_receive(self, message: Any) -> None:
        if self._over:
            # What came after the end is for whoever has the session next.
            if isinstance(message, Commanded | Told | Brought):
                message.delivered.receipt.later(RETRY)
            return
        try:
            with contained():
                self._receive(message)
        except Conflict:
            # Another owner exists. Retrying would only fight it.
            self._log.warning("session.lost_to_another_owner")
            self._fall(to_pool.Lost(self.identity))
        except Exception as error:  # noqa: BLE001  # whatever it is, it takes down this session only
            self._log.error("session.died", at=where(error))
            self._fall(to_pool.Died(self.identity))

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self._log.critical("session.fell_badly", error=exception_type.__name__)
        self._pool(to_pool.Died(self.identity))

    def _fall(self, word: OfSession) -> None:
        """End, without a word on the log, once the browser is gone.

        Not in `on_failure`: by then everybody takes this actor for ended, and the next life
        would find a browser on its profile.
        """
        self._abandon()
        self._wait_for_browser()
        self._pool(word)
        self._end()

    def _receive(self, message: Message) -> None:
        match message:
            case Boot():
                self._boot()
            case Commanded(delivered):
                self._orders.take(delivered)
            case Told(command, delivered):
                self._orders.obey(command, delivered)
            case Brought(delivered):
                self._sender.deliver(delivered)
            case Tried():
                self._sender.tried(self._tries.ended(message))
                self._receiver.replay()
            case SlotFree():
                self._slot.take()
                self._note(Launching())
                self._slot.give_back_unless_starting()
            case Sighted() | Answered() | CaughtUp() | Fetched() | Weighed() | Replied():
                # News of an earlier life is old news.
                if message.life == self._life.number:
                    self._hear_of_browser(message)
            case Unlinking():
                self._orders.unlinked(message)
            case Rang(name, _) if self._timers.is_current(message):
                self._rang(name)
            case Overdue(pending) if self._recorder.state.state is not S.READY:
                if pending is None:
                    self._overdue.look()
                else:
                    self._overdue.expire(pending)
            case Asked():
                self._answers.give(message, self._codes.shown)
            case Preserved(saved):
                self._preserver.preserved(saved)
            case BroughtBack(restored):
                self._preserver.brought_back(restored)
            case Yield():
                self._log.warning("session.lease_lost")
                self._fall(to_pool.Yielded(self.identity))
            case Doubted():
                self._recorder.verify()
            case AccountTaken():
                self._account.taken()
            case Halt():
                self._halt()
            case _:
                pass  # An earlier timer, or sends that go out now.

    def _hear_of_browser(self, news: OfBrowser) -> None:
        match news:
            case Sighted():
                self._witness.see(news.sighting)
            case Answered():
                self._witness.answered(news.status)
            case CaughtUp():
                if self._catch_up.is_latest(news.reading):
                    self._caught_up(news)
            case Fetched():
                self._receiver.kept(news.wa_id, news.kept)
            case Weighed():
                self._upkeep.weighed(news.cost)
            case Replied():
                self._answers.ended(news)

    def _boot(self) -> None:
        try:
            self._recorder.claim(ready=self._take_over)
        except NotMine:
            self._pool(to_pool.Forgotten(self.identity))
            self._end()
            return
        self._preserver.found(self._recorder.state_before)
        self._inbox = self._parts.loop.wait(
            self._parts.wire.open_inbox(
                self.identity,
                control=lambda delivered: self._tell_me(Commanded(delivered)),
                sends=lambda delivered: self._tell_me(Brought(delivered)),
                asked=self._tell_me,
            )
        )
        self._arm()
        # Whoever looked at its code looked at a node that is gone.
        looked_at = self._recorder.state_before is S.PAIRING
        self._note(Wanting(orphaned=looked_at and self._recorder.from_elsewhere))

    def _take_over(self) -> None:
        if self._recorder.from_elsewhere:
            self._preserver.set_aside()

    def _halt(self) -> None:
        ran = self._recorder.state.state in WITH_BROWSER
        if ran:
            self._record((e.Queued(reason="node_stopping"),), None)
        self._abandon()
        self._wait_for_browser()
        self._preserver.take_last()
        self._pool(to_pool.Halted(self.identity))
        self._end()

    def _end(self) -> None:
        """Handle no message any more, those that are in the mailbox already included."""
        self._over = True
        self.stop()

    def _abandon(self) -> None:
        """Let go of everything outside: the ear, the timers, the browser. Writes nothing."""
        if self._inbox is not None:
            self._inbox.close()
        self._timers.silence_all()
        self._close_browser()
        self._slot.give_back()

    def _wait_for_browser(self) -> None:
        """Block until it has ended, by force if need be: the next life gets the same profile."""
        with suppress(LoopStopped):
            self._parts.loop.wait(self._life.over())

    def _note(self, fact: Fact, cause: str | None = None) -> None:
        now = self._parts.clock.now()
        if isinstance(fact, Failure):
            fact = replace(fact, memory_mb=self._upkeep.weight)
        events = decide(self._recorder.current, self.identity, fact, now, self._parts.policy)
        self._record(events, cause)

    def _record(self, events: tuple[SessionEvent, ...], cause: str | None) -> None:
        for event in events:
            self._recorder.session(event, cause)
            self._log.info(f"session.{event.kind}", reason=getattr(event, "reason", None))
            self._act(event)
        if events:
            self._arm()

    def _act(self, event: SessionEvent) -> None:
        """Do what an event on the log asks for."""
        if self._recorder.state.state is not S.READY and self._inbox is not None:
            self._inbox.gate(False)
        match event:
            case e.Queued():
                self._close_browser()
                if event.fresh:
                    self._forget_link()
                self._slot.give_back()
                self._slot.want()
            case e.Probing():
                self._slot.want()
            case e.Starting():
                self._launch()
            case e.Ready():
                self._begin_catch_up()
                self._timers.ring("probe", self._parts.settings.probe_interval)
                self._timers.ring("quiet", self._parts.settings.backoff_quiet)
                self._timers.ring("memory", self._parts.settings.memory_interval)
                self._preserver.begin()
            case e.Crashed() | e.Parked() | e.Rested() | e.Blocked() | e.Stopped() | e.LoggedOut():
                self._close_browser()
                if isinstance(event, e.LoggedOut):
                    self._forget_link()
                if isinstance(event, e.LoggedOut | e.Stopped | e.Parked):
                    self._account.let_go()
                if isinstance(event, e.Stopped):
                    self._preserver.take_closed()
                if isinstance(event, e.Crashed):
                    self._slot.crashed(event.reason)
            case e.Removed():
                self._abandon()
                self._forget_link()
                leftovers.clear(self._own)
                self._end()
            case _:
                pass
        self._slot.give_back_unless_starting()

    def _arm(self) -> None:
        hours = self._parts.settings.stale_hours
        arm(self._timers, self._recorder.state, self._parts.clock.now(), hours)

    def _rang(self, name: str) -> None:
        match name:
            case "deadline":
                self._note(Due())
            case "quiet":
                self._note(Quiet())
            case "stale":
                self._note(Stale())
            case "memory":
                self._upkeep.weigh()
            case name if name == SNAPSHOT:
                self._preserver.take()
            case _:
                self._probe.look()

    def _launch(self) -> None:
        self._receiver.begin_anew()
        self._operations.renew()
        self._tries.renew()
        self._upkeep.renew()
        self._life.launch(
            self._preserver.before_launch(),
            seen=lambda life, sighting: self._tell_me(Sighted(life, sighting)),
            failed=lambda life, error: self._tell_me(Answered(life, error)),
        )

    def _close_browser(self) -> None:
        self._codes.forget()
        self._timers.silence("probe")
        self._timers.silence("quiet")
        self._timers.silence("memory")
        self._timers.silence(SNAPSHOT)
        self._life.close()

    def _forget_link(self) -> None:
        """Delete the credentials, wherever they are, once the browser is gone."""
        self._life.forget()
        self._preserver.forget()

    def _begin_catch_up(self) -> None:
        """Read what came since the watermark; sends wait until it is recorded."""
        if self._catch_up.read():
            self._receiver.begin()

    def _caught_up(self, found: CaughtUp) -> None:
        messages = found.messages
        if isinstance(messages, b.PageReloaded):
            self._begin_catch_up()
            return
        if isinstance(messages, Exception):
            # Going on without would lose what came meanwhile in silence.
            self._witness.answered(messages)
            return
        # Some at a time: whoever asks something of the session meanwhile gets an answer.
        self._receiver.catch_up(messages[:AT_ONCE])
        if len(messages) > AT_ONCE:
            self._tell_me(replace(found, messages=messages[AT_ONCE:]))
            return
        self._receiver.caught_up()
        if self._inbox is not None and self._recorder.state.state is S.READY:
            self._inbox.gate(True)

    def _record_operations(self, event: OperationsEvent) -> None:
        if self._recorder.state.state is S.READY:
            self._record((event,), None)
