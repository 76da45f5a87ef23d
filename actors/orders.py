"""Commands to a session: carried out, refused with the reason, or held until WhatsApp agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

from actors.browser.protocol import Browser
from actors.inbox import Delivered
from actors.sending import RETRY
from actors.session_messages import Unlinking, UnlinkingCommand
from actors.session_parts import SessionParts
from events import codec, live
from events import session_events as e
from events.session import State
from events.session_events import SessionCommand, SessionEvent
from events.session_facts import Unlinked
from events.session_rules import Refusal, decide

S = State


class Orders:
    """What one session does about commands. Used on the session's own thread only."""

    def __init__(
        self,
        own: SessionParts,
        record: Callable[[tuple[SessionEvent, ...], str | None], None],
        note: Callable[[Unlinked, str], None],
        refresh_qr: Callable[[], None],
    ) -> None:
        """`record(events, cause)` writes and acts; `note(fact, cause)` decides first."""
        self._own = own
        self._record, self._note, self._refresh_qr = record, note, refresh_qr

    def take(self, delivered: Delivered) -> None:
        """Take what the control queue brought."""
        try:
            command = codec.payload_of(delivered.envelope)
        except codec.Undecodable as error:
            delivered.receipt.dead(str(error))
            return
        if not isinstance(command, SessionCommand):
            delivered.receipt.dead(f"{delivered.envelope.type} is no command of a session")
            return
        self.obey(command, delivered)

    def obey(self, command: SessionCommand, delivered: Delivered) -> None:
        """Carry a command out, or say why not."""
        own = self._own
        if own.state.state is S.REMOVED:
            # Nothing of it is left. Whoever takes it next finds out what it means now.
            delivered.receipt.later(RETRY)
            return
        if own.recorder.was_queued_by(delivered.envelope.id):
            # Its ack was lost. Done again, it would undo what was done with the session since.
            self._settle(delivered)
            return
        browser, ready = own.life.browser, own.state.state is S.READY
        if browser is not None and ready and _unlinks(command):
            self._unlink(browser, command, delivered)
            return
        if isinstance(command, e.Logout) and own.state.linked:
            # Credentials die by a confirmed log-out only, and there is no page to confirm it.
            detail = "a linked session can be logged out while it is ready; start it, or delete it"
            self._refuse(Refusal("not_ready", detail), delivered)
            return
        now = own.node.clock.now()
        try:
            events = decide(own.recorder.current, own.identity, command, now, own.node.policy)
        except Refusal as no:
            self._refuse(no, delivered)
            return
        self._record(events, delivered.envelope.id)
        if isinstance(command, e.RefreshQr) and own.state.state is S.PAIRING:
            self._refresh_qr()
        self._settle(delivered)

    def unlinked(self, ended: Unlinking) -> None:
        """Go on with a command that had to log out first."""
        command, delivered = ended.command, ended.delivered
        if ended.error is not None:
            error = type(ended.error).__name__
            self._own.log.warning("session.logout_unconfirmed", error=error)
            if isinstance(command, e.Logout):
                detail = "WhatsApp did not confirm the log-out; the link is kept"
                self._refuse(Refusal("unconfirmed", detail, 503, retry_after=5), delivered)
                return
        confirmed = ended.error is None
        self._note(Unlinked(reason="command", confirmed=confirmed), delivered.envelope.id)
        if self._own.state.state is S.READY:
            # It was linked anew in between; what was asked for is done.
            self._settle(delivered)
        else:
            self.obey(command, delivered)

    def _unlink(self, browser: Browser, command: UnlinkingCommand, delivered: Delivered) -> None:
        """Tell WhatsApp first: a link that only we forget stays on the phone's list."""
        tell_me = self._own.tell_me
        self._own.node.loop.run(
            browser.log_out(),
            then=lambda _: tell_me(Unlinking(command, delivered, None)),
            failed=lambda error: tell_me(Unlinking(command, delivered, error)),
        )

    def _refuse(self, no: Refusal, delivered: Delivered) -> None:
        if no.reason == "suspended":
            self._own.recorder.rejected += 1
        self._own.tell_live(
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
        state = self._own.state.state.value
        self._own.tell_live(live.Settled(command=delivered.envelope.id, state=state))


def _unlinks(command: SessionCommand) -> TypeGuard[UnlinkingCommand]:
    match command:
        case e.Logout() | e.Delete():
            return True
        case e.Reset():
            return command.fresh
        case _:
            return False
