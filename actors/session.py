"""A session: the actor that owns one headless browser.

Everything it learns is a message; everything it decides is an event on the log
before it is acted on. What the browser does runs on the loop thread and comes
back as a message that carries the life it belongs to: news of an earlier
browser is old news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pykka
import structlog

from actors import pool_messages as to_pool
from actors.browser import protocol as b
from actors.browser_life import BrowserLife
from actors.inbox import Asked, Delivered, Inbox, Pending
from actors.keeping import Keeper, lost
from actors.mailbox import contained, depth, tell
from actors.memory import Cost
from actors.operations import Operations, OperationsEvent
from actors.parts import Parts
from actors.questions import Reply, answer, no_pairing_code
from actors.receiving import Receiver
from actors.recorder import NotMine, Recorder
from actors.sending import RETRY, Mistake, Sender, StoreAway, Tried, try_in_page
from actors.session_messages import (
    Answered,
    Boot,
    Brought,
    CaughtUp,
    Commanded,
    Fetched,
    Halt,
    Message,
    Overdue,
    Replied,
    Sighted,
    SlotFree,
    Told,
    Unlinking,
    Weighed,
)
from actors.sightings import OUTDATED, fact_of, failure_of
from actors.timers import Rang, Timers
from events import codec, live
from events import session_events as e
from events.breaker import Try
from events.log import Conflict
from events.message import Send
from events.session import WITH_BROWSER, State
from events.session_events import SessionCommand, SessionEvent
from events.session_rules import (
    QR_GRACE,
    CodeShown,
    Due,
    Fact,
    Failure,
    Heavy,
    Launching,
    Progress,
    Quiet,
    Refusal,
    Stale,
    TypedCode,
    Unlinked,
    Wanting,
    decide,
    is_forgettable,
    is_typing,
)
from events.subjects import SessionId

S = State
OVERLAP = timedelta(minutes=30)
"""How far behind the newest received message a catch-up begins: chats arrive out of step."""

IDLE = 5.0
"""Seconds until a browser that is too heavy, and busy, is looked at again."""

STARTED = frozenset({S.PAIRING, S.AUTHENTICATED, S.READY, S.LOGGED_OUT})
"""States that prove that a browser could be started."""

CATCH_UP = 20_000
"""Most messages one catch-up reads."""


class SessionActor(pykka.ThreadingActor):
    """Owns one session."""

    def __init__(self, identity: SessionId, parts: Parts, pool: Callable[[Any], None]) -> None:
        super().__init__()
        self.identity = identity
        self._parts, self._pool = parts, pool
        self._recorder = Recorder(
            identity, parts.log, parts.loop, parts.clock, parts.settings, parts.policy
        )
        self._sender = Sender(self._recorder, parts.clock, parts.pace, self._try)
        self._receiver = Receiver(self._recorder, self._sender, self._keep)
        self._keeper = Keeper(
            identity,
            parts.media,
            largest=parts.settings.media_max_mb * 1_048_576,
            timeout=parts.settings.media_timeout,
        )
        self._timers = Timers(parts.clock, self._tell_me)
        profile = parts.settings.profiles / identity.dotted
        self._life = BrowserLife(identity, parts.launcher, parts.loop, profile)
        self._operations = Operations(
            parts.settings.page_breaker_failures,
            parts.settings.page_breaker_reset,
            parts.clock,
            self._record_operations,
        )
        self._inbox: Inbox | None = None
        self._in_flight = 0
        self._cpu: tuple[float, float] | None = None
        self._qr: live.Qr | None = None
        self._slot = False
        self._log = structlog.get_logger().bind(session=str(identity))

    def _tell_me(self, message: Message) -> None:
        tell(self.actor_ref, message)

    # --- mailbox ----------------------------------------------------------------

    def on_start(self) -> None:
        # One line only: pykka calls no on_failure when this raises.
        self.actor_ref.tell(Boot())

    def on_receive(self, message: Any) -> None:
        try:
            with contained():
                self._receive(message)
        except Conflict:
            # Another owner exists. Retrying would only fight it.
            self._log.warning("session.lost_to_another_owner")
            self._abandon()
            self._pool(to_pool.Lost(self.identity))
            self.stop()

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self._log.error("session.died", error=exception_type.__name__)
        self._abandon()
        self._pool(to_pool.Died(self.identity))

    def _receive(self, message: Message) -> None:
        match message:
            case Boot():
                self._boot()
            case Commanded(delivered):
                self._command(delivered)
            case Told(command, delivered):
                self._obey(command, delivered)
            case Brought(delivered):
                self._sender.deliver(delivered)
            case Tried():
                self._tried(message)
                self._sender.tried(message)
                self._receiver.replay()
            case SlotFree():
                self._slot = True
                self._note(Launching())
                self._return_slot_unless_starting()
            case Sighted(life, sighting) if life == self._life.number:
                self._see(sighting)
            case Answered(life, outcome) if life == self._life.number:
                self._answered(outcome)
            case CaughtUp(life, messages) if life == self._life.number:
                self._caught_up(messages)
            case Fetched(life, wa_id, kept) if life == self._life.number:
                self._receiver.kept(wa_id, kept)
            case Weighed(life, cost) if life == self._life.number:
                self._weighed(cost)
            case Replied(life, call, page_works) if life == self._life.number:
                self._replied(call, page_works)
            case Unlinking(command, delivered, error):
                self._unlinked(command, delivered, error)
            case Rang(name, _) if self._timers.is_current(message):
                self._rang(name)
            case Overdue(pending):
                self._expire(pending)
            case Asked():
                self._answer(message)
            case Halt():
                self._halt()
            case _:
                pass  # News of an earlier life or an earlier timer.

    # --- a life -----------------------------------------------------------------

    def _boot(self) -> None:
        try:
            self._recorder.claim()
        except NotMine:
            self._pool(to_pool.Forgotten(self.identity))
            self.stop()
            return
        self._inbox = self._parts.loop.wait(
            self._parts.wire.open_inbox(
                self.identity,
                control=lambda delivered: self._tell_me(Commanded(delivered)),
                sends=lambda delivered: self._tell_me(Brought(delivered)),
                asked=self._tell_me,
            )
        )
        self._arm()
        self._note(Wanting())

    def _halt(self) -> None:
        if self._recorder.state.state in WITH_BROWSER:
            self._record((e.Queued(reason="node_stopping"),), None)
        self._abandon()
        self._parts.loop.wait(self._life.over())
        self.stop()

    def _abandon(self) -> None:
        """Let go of everything outside: the ear, the timers, the browser. Writes nothing."""
        if self._inbox is not None:
            self._inbox.close()
        self._timers.silence_all()
        self._close_browser()
        self._return_slot()

    # --- deciding ---------------------------------------------------------------

    def _note(self, fact: Fact, cause: str | None = None) -> None:
        now = self._parts.clock.now()
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
                    self._life.forget()
                self._return_slot()
                self._pool(to_pool.WantSlot(self.identity))
            case e.Probing():
                self._pool(to_pool.WantSlot(self.identity))
            case e.Starting():
                self._launch()
            case e.Ready():
                self._catch_up()
                self._timers.ring("probe", self._parts.settings.probe_interval)
                self._timers.ring("quiet", self._parts.settings.backoff_quiet)
                self._timers.ring("memory", self._parts.settings.memory_interval)
            case e.Crashed() | e.Parked() | e.Rested() | e.Blocked() | e.Stopped() | e.LoggedOut():
                self._close_browser()
                if isinstance(event, e.LoggedOut):
                    self._life.forget()
                if isinstance(event, e.Crashed) and event.reason == OUTDATED and not self._slot:
                    self._pool(to_pool.Outdated())
            case e.Removed():
                self._remove()
            case _:
                pass
        self._return_slot_unless_starting()

    def _arm(self) -> None:
        """Set the one deadline the state has."""
        state = self._recorder.state
        if state.state is S.BACKING_OFF and state.deadline is None:
            self._timers.ring("deadline", 0)
        elif state.deadline is None:
            self._timers.silence("deadline")
        else:
            # A page that waits for a typed code need not show others meanwhile.
            due = max(state.deadline, state.typed_until or state.deadline)
            left = (due - self._parts.clock.now()).total_seconds()
            grace = QR_GRACE if state.state is S.PAIRING else 0.0
            self._timers.ring("deadline", max(0.0, left + grace))
        self._arm_stale()

    def _arm_stale(self) -> None:
        """Forget an unlinked session that nobody touched for its time to live."""
        state, hours = self._recorder.state, self._parts.settings.stale_hours
        if hours and is_forgettable(state) and state.since is not None:
            age = (self._parts.clock.now() - state.since).total_seconds()
            self._timers.ring("stale", max(0.0, hours * 3_600 - age))
        else:
            self._timers.silence("stale")

    def _rang(self, name: str) -> None:
        match name:
            case "deadline":
                self._note(Due())
            case "quiet":
                self._note(Quiet())
            case "stale":
                self._note(Stale())
            case "memory":
                self._weigh()
            case _:
                self._probe()

    # --- commands ---------------------------------------------------------------

    def _command(self, delivered: Delivered) -> None:
        try:
            command = codec.payload_of(delivered.envelope)
        except codec.Undecodable as error:
            delivered.receipt.dead(str(error))
            return
        if not isinstance(command, SessionCommand):
            delivered.receipt.dead(f"{delivered.envelope.type} is no command of a session")
            return
        self._obey(command, delivered)

    def _obey(self, command: SessionCommand, delivered: Delivered) -> None:
        if self._recorder.state.state is S.REMOVED:
            # Nothing of it is left. Whoever takes it next finds out what it means now.
            delivered.receipt.later(RETRY)
            return
        if isinstance(command, e.Logout | e.Delete | e.Reset) and self._must_unlink(command):
            self._unlink(command, delivered)
            return
        if isinstance(command, e.Logout) and self._recorder.state.linked:
            # Credentials die by a confirmed log-out only, and there is no page to confirm it.
            detail = "a linked session can be logged out while it is ready; start it, or delete it"
            self._refuse(Refusal("not_ready", detail), delivered)
            return
        cause = delivered.envelope.id
        now = self._parts.clock.now()
        try:
            events = decide(self._recorder.current, self.identity, command, now, self._parts.policy)
        except Refusal as no:
            self._refuse(no, delivered)
            return
        self._record(events, cause)
        if isinstance(command, e.RefreshQr) and self._recorder.state.state is S.PAIRING:
            self._in_page(lambda page: page.refresh_qr())
        self._settle(delivered)

    def _refuse(self, no: Refusal, delivered: Delivered) -> None:
        if no.reason == "suspended":
            self._recorder.rejected += 1
        self._tell_live(
            live.Refused(
                command=delivered.envelope.id,
                reason=no.reason,
                detail=no.detail,
                status=no.status,
                retry_after=no.retry_after,
            )
        )
        delivered.receipt.done()

    def _settle(self, delivered: Delivered) -> None:
        delivered.receipt.done()
        self._tell_live(
            live.Settled(command=delivered.envelope.id, state=self._recorder.state.state.value)
        )

    def _must_unlink(self, command: e.Logout | e.Delete | e.Reset) -> bool:
        drops = not isinstance(command, e.Reset) or command.fresh
        linked = self._recorder.state.state is S.READY
        return drops and linked and self._life.browser is not None

    def _unlink(self, command: e.Logout | e.Delete | e.Reset, delivered: Delivered) -> None:
        """Tell WhatsApp first: a link that only we forget stays on the phone's list."""
        browser = self._life.browser
        if browser is None:
            self._tell_me(Unlinking(command, delivered, None))
            return
        self._parts.loop.run(
            browser.log_out(),
            then=lambda _: self._tell_me(Unlinking(command, delivered, None)),
            failed=lambda error: self._tell_me(Unlinking(command, delivered, error)),
        )

    def _unlinked(
        self, command: e.Logout | e.Delete | e.Reset, delivered: Delivered, error: Exception | None
    ) -> None:
        if error is not None:
            self._log.warning("session.logout_unconfirmed", error=type(error).__name__)
            if isinstance(command, e.Logout):
                detail = "WhatsApp did not confirm the log-out; the link is kept"
                self._refuse(Refusal("unconfirmed", detail, 503, retry_after=5), delivered)
                return
        confirmed = error is None
        self._note(Unlinked(reason="command", confirmed=confirmed), delivered.envelope.id)
        if self._recorder.state.state is S.READY:
            # It was linked anew in between; what was asked for is done.
            self._settle(delivered)
        else:
            self._obey(command, delivered)

    # --- the browser ------------------------------------------------------------

    def _launch(self) -> None:
        self._receiver.begin_anew()
        self._operations.renew()
        self._in_flight = 0
        self._cpu = None
        self._life.launch(
            seen=lambda life, sighting: self._tell_me(Sighted(life, sighting)),
            failed=lambda life, error: self._tell_me(Answered(life, error)),
        )

    def _close_browser(self) -> None:
        self._qr = None
        self._timers.silence("probe")
        self._timers.silence("quiet")
        self._timers.silence("memory")
        self._life.close()

    def _remove(self) -> None:
        self._abandon()
        self._life.forget()
        wire, identity, life, pool = self._parts.wire, self.identity, self._life, self._pool
        media = self._parts.media

        async def clean_up() -> None:
            await life.over()
            await wire.forget(identity)
            await media.forget(identity)

        def over(error: object) -> None:
            if isinstance(error, Exception):
                self._log.error("session.leftovers", error=type(error).__name__)
            pool(to_pool.Forgotten(identity))

        self._parts.loop.run(clean_up(), then=over, failed=over)
        self.stop()

    def _in_page(
        self, call: Callable[[b.Browser], Coroutine[Any, Any, b.PageStatus | None]]
    ) -> None:
        """Make a call into the page; its answer or its failure comes back as a message."""
        life, browser = self._life.number, self._life.browser
        if browser is not None:
            self._parts.loop.run(
                call(browser),
                then=lambda answer: self._tell_me(Answered(life, answer)),
                failed=lambda error: self._tell_me(Answered(life, error)),
            )

    def _probe(self) -> None:
        self._in_page(lambda page: page.status())
        self._timers.ring("probe", self._parts.settings.probe_interval)

    def _answered(self, outcome: b.PageStatus | Exception | None) -> None:
        if isinstance(outcome, b.PageStatus):
            self._see_status(outcome)
        elif isinstance(outcome, b.PageReloaded):
            # It navigates, as after a log-out; it tells its state anew, and is asked again.
            self._timers.ring("probe", self._parts.settings.probe_timeout)
        elif outcome is not None:
            self._note(failure_of(outcome))

    # --- what is seen -------------------------------------------------------------

    def _see(self, sighting: b.Sighting) -> None:
        match sighting:
            case b.Loading(percent, message):
                self._note(Progress(percent, message))
            case b.QrShown(code, ttl):
                self._show_qr(code, ttl)
            case b.QrIdle():
                state = self._recorder.state
                # A new code to scan would void the one that is being typed.
                if state.state is S.PAIRING and not is_typing(state, self._parts.clock.now()):
                    self._in_page(lambda page: page.refresh_qr())
            case b.StateSeen(status):
                self._see_status(status)
            case b.LoggedOut(reason):
                self._note(Unlinked(reason or "unlinked"))
            case b.MessageSeen():
                self._receiver.see(sighting)
            case b.AckSeen():
                self._receiver.acked(sighting)
            case b.Gone(reason, detail):
                self._note(Failure(reason, detail))

    def _show_qr(self, code: str, ttl: float) -> None:
        if self._qr is not None and self._qr.code == code:
            return
        self._note(CodeShown(ttl))
        state = self._recorder.state
        if state.state is S.PAIRING and state.deadline is not None:
            self._qr = live.Qr(code=code, attempt=state.qr_attempt, expires=state.deadline)
            self._tell_live(self._qr)

    def _see_status(self, status: b.PageStatus) -> None:
        fact = fact_of(status, self._recorder.state)
        if fact is not None:
            if status.authenticated:
                self._qr = None
            self._note(fact)

    # --- messages -----------------------------------------------------------------

    def _catch_up(self) -> None:
        """Read what came since the watermark; sends wait until it is recorded."""
        life, browser = self._life.number, self._life.browser
        if browser is None:
            return
        watermark = self._recorder.outbox.watermark
        since = watermark - OVERLAP if watermark else self._recorder.state.linked_at
        if since is not None:
            # Of what is older the log has forgotten whether it was recorded.
            kept = timedelta(days=self._parts.settings.message_days)
            since = max(since, self._parts.clock.now() - kept)
        self._receiver.begin()
        self._parts.loop.run(
            browser.messages_since(since, CATCH_UP),
            then=lambda messages: self._tell_me(CaughtUp(life, messages)),
            failed=lambda error: self._tell_me(CaughtUp(life, error)),
        )

    def _caught_up(self, messages: list[b.MessageSeen] | Exception) -> None:
        if isinstance(messages, b.PageReloaded):
            self._catch_up()
            return
        if isinstance(messages, Exception):
            # Going on without would lose what came meanwhile in silence.
            self._answered(messages)
            return
        self._receiver.catch_up(messages)
        if self._inbox is not None and self._recorder.state.state is S.READY:
            self._inbox.gate(True)

    def _keep(self, seen: b.MessageSeen) -> None:
        """Have the media of a message fetched and kept; what comes of it is a message."""
        life, browser, wa_id = self._life.number, self._life.browser, seen.wa_id
        if browser is None:
            return  # Nothing of it is recorded: the next catch-up brings it again.
        self._parts.loop.run(
            self._keeper.keep(browser, seen.key, seen.media),
            then=lambda kept: self._tell_me(Fetched(life, wa_id, kept)),
            failed=lambda error: self._tell_me(Fetched(life, wa_id, lost(seen.media, error))),
        )

    def _try(self, send: Send, delivered: Delivered, look_up: bool, wa_id: str) -> None:
        browser = self._life.browser
        if browser is None:
            delivered.receipt.later(RETRY)
            return
        call = self._operations.admit()
        if call is None:
            delivered.receipt.later(self._operations.retry_in)
            return
        self._in_flight += 1

        def mistaken(error: Exception) -> None:
            self._log.error("send.mistake", error=type(error).__name__)
            self._tell_me(Tried(send, delivered, call, Mistake(type(error).__name__)))

        self._parts.loop.run(
            try_in_page(browser, send, wa_id, look_up, self._parts.media),
            then=lambda outcome: self._tell_me(Tried(send, delivered, call, outcome)),
            failed=mistaken,
        )

    def _expire(self, pending: list[Pending] | None) -> None:
        if self._recorder.state.state is S.READY:
            return
        wire = self._parts.wire
        if pending is None:
            self._parts.loop.run(
                wire.pending_sends(self.identity),
                then=lambda found: self._tell_me(Overdue(found)),
                failed=lambda error: self._log.info("session.sweep_failed", error=repr(error)),
            )
            return
        for waiting in pending:
            try:
                send = codec.payload_of(waiting.envelope)
            except codec.Undecodable:
                continue  # It goes to the dead letters when its turn comes.
            if isinstance(send, Send) and self._sender.expire(send, waiting.envelope.id):
                self._parts.loop.run(
                    wire.discard(waiting.position), then=lambda _: None, failed=lambda _: None
                )

    # --- questions ----------------------------------------------------------------

    def _answer(self, asked: Asked) -> None:
        state = self._recorder.state.state
        if asked.query == "qr":
            if self._qr is None or state is not S.PAIRING:
                asked.reply(codec.answer_error("no_code", f"no code is shown: {state.value}", 404))
            else:
                asked.reply(codec.answer(self._qr.model_dump(mode="json")))
            return
        if asked.query == "pairing-code":
            no = no_pairing_code(asked, self._recorder.state)
            if no is not None:
                asked.reply(no)
                return
            self._note(TypedCode())
        needs_ready = asked.query not in {"screenshot", "status", "pairing-code"}
        browser = self._life.browser
        if browser is None or (needs_ready and state is not S.READY):
            asked.reply(
                codec.answer_error("not_ready", f"the session is {self._recorder.state.word}", 409)
            )
            return
        call = self._operations.admit()
        if call is None:
            asked.reply(codec.answer_error("breaker_open", "calls into the page fail", 503))
            return
        life = self._life.number

        def replied(reply: Reply) -> None:
            asked.reply(reply.raw)
            self._tell_me(Replied(life, call, reply.page_works))

        def failed(_: Exception) -> None:
            asked.reply(codec.answer_error("failed", "no answer", 503))
            self._tell_me(Replied(life, call, page_works=False))

        self._parts.loop.run(
            answer(browser, asked, self._keeper, self._recorder.state.typed_until),
            then=replied,
            failed=failed,
        )

    # --- upkeep -------------------------------------------------------------------

    def _tried(self, tried: Tried) -> None:
        self._in_flight = max(0, self._in_flight - 1)
        match tried.outcome:
            case b.PageGone() | b.PageReloaded() | StoreAway() | Mistake():
                self._operations.ended(tried.call)
            case b.NotSent() | b.MessageSeen() | None:
                self._operations.worked(tried.call)
            case b.BrowserError():
                self._operations.failed(tried.call)

    def _replied(self, call: Try, page_works: bool | None) -> None:
        match page_works:
            case True:
                self._operations.worked(call)
            case False:
                self._operations.failed(call)
            case None:
                self._operations.ended(call)

    def _record_operations(self, event: OperationsEvent) -> None:
        if self._recorder.state.state is S.READY:
            self._record((event,), None)

    def _weigh(self) -> None:
        """Measure the browser; restart it at an idle moment if it grew past its limit."""
        browser = self._life.browser
        if browser is None or browser.pid is None:
            return
        life, pid, machine = self._life.number, browser.pid, self._parts.machine
        self._parts.loop.run(
            asyncio.to_thread(machine.cost, pid),
            then=lambda cost: self._tell_me(Weighed(life, cost)),
            failed=lambda _: self._tell_me(Weighed(life, None)),
        )

    def _weighed(self, cost: Cost | None) -> None:
        settings = self._parts.settings
        self._timers.ring("memory", settings.memory_interval)
        if cost is None:
            return
        now = self._parts.clock.monotonic()
        if self._cpu is not None and now > self._cpu[1]:
            share = (cost.cpu_seconds - self._cpu[0]) / (now - self._cpu[1])
            cpu = round(max(0.0, share), 3)
            mailbox = depth(self.actor_inbox)
            self._tell_live(live.Usage(memory_mb=cost.memory_mb, cpu=cpu, mailbox=mailbox))
        self._cpu = (cost.cpu_seconds, now)
        if settings.session_memory_mb and cost.memory_mb > settings.session_memory_mb:
            if self._in_flight:
                self._timers.ring("memory", IDLE)
            else:
                self._log.info("session.too_heavy", memory_mb=cost.memory_mb)
                self._note(Heavy(cost.memory_mb))

    # --- outside --------------------------------------------------------------------

    def _tell_live(self, notice: live.LiveNotice) -> None:
        self._parts.loop.run(
            self._parts.wire.notice(self.identity, notice),
            then=lambda _: None,
            failed=lambda error: self._log.debug("session.notice_lost", error=repr(error)),
        )

    def _return_slot(self) -> None:
        if self._slot:
            self._slot = False
            state = self._recorder.state
            started = None
            if state.state in STARTED:
                started = True
            elif state.state in {S.BACKING_OFF, S.SUSPENDED}:
                started = False
            self._pool(to_pool.SlotDone(self.identity, started, state.reason))

    def _return_slot_unless_starting(self) -> None:
        if self._recorder.state.state is not S.STARTING:
            self._return_slot()
