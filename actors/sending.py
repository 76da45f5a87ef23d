"""Sending exactly once: from a delivered command to a named outcome.

The command is settled only after its outcome is on the log. Between the intent
(`sending`) and the outcome anything may crash: the command comes again, and our
own WhatsApp id is looked up in the page before anything is sent again, under
the same id.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from actors.browser.protocol import (
    AckSeen,
    BrowserError,
    MessageSeen,
    NotSent,
    PageTimeout,
)
from actors.inbox import Delivered
from actors.pace import Pace
from actors.recorder import Recorder
from events import codec
from events.breaker import Try
from events.clock import Clock, epoch
from events.message import Delivery, Expired, Failed, Send, Sending, Sent, Stage, Unresolved
from events.session import State

log = structlog.get_logger()

RETRY = 1.0
"""Seconds until a send whose outcome is unknown is looked at again."""

GRACE = timedelta(minutes=1)
"""After its deadline a send of unknown outcome is looked up this long before it is given up."""

EVER = epoch(0)


class GaveUp(BrowserError):
    """The page does not take a message that may be WhatsApp's by now: an earlier try is unknown."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try at a message ended: what the page holds of it, nothing, or an error."""

    send: Send
    delivered: Delivered
    call: Try
    outcome: MessageSeen | BrowserError | None
    again: float = RETRY
    """Seconds until it is tried again, where its outcome is unknown."""


def new_wa_id() -> str:
    """Mint a WhatsApp id in the form WhatsApp Web itself uses: 3EB0 and 18 hex digits."""
    return "3EB0" + secrets.token_hex(9).upper()


class Sender:
    """One session's way of sending. Used on the session's own thread only."""

    def __init__(
        self,
        recorder: Recorder,
        clock: Clock,
        pace: Pace,
        run: Callable[[Send, Delivered, bool, str], None],
    ) -> None:
        """`run(send, delivered, look_up, wa_id)` works in the page and ends in `Tried`."""
        self._recorder, self._clock, self._pace, self._run = recorder, clock, pace, run

    def deliver(self, delivered: Delivered) -> None:
        """Take a command that the queue brought."""
        try:
            payload = codec.payload_of(delivered.envelope)
        except codec.Undecodable as error:
            delivered.receipt.dead(str(error))
            return
        if not isinstance(payload, Send):
            delivered.receipt.dead(f"{delivered.envelope.type} is not a send")
            return
        self._recall(payload, delivered)
        known = self._recorder.outbox.delivery(payload.message)
        if known is not None and known.stage is not Stage.SENDING:
            delivered.receipt.done()
        elif self._recorder.state.state is not State.READY:
            delivered.receipt.later(RETRY)
        elif known is not None and known.wa_id is not None:
            self._run(payload, delivered, True, known.wa_id)
        else:
            self._begin(payload, delivered)

    def _recall(self, send: Send, delivered: Delivered) -> None:
        """Make sure of what became of a command that waited for long, maybe sent meanwhile."""
        overdue = self._clock.now() >= send.deadline
        self._recorder.recall(EVER if overdue else delivered.envelope.time)

    def _begin(self, send: Send, delivered: Delivered) -> None:
        wait = self._pace.take(self._recorder.identity.user, self._clock.monotonic())
        if wait > 0 and self._clock.now() < send.deadline:
            delivered.receipt.later(wait)
            return
        intent = self._recorder.outbox.begin(send, new_wa_id(), self._clock.now())
        if intent is None:
            delivered.receipt.done()
            return
        self._recorder.message(intent, delivered.envelope.id)
        match intent:
            case Sending():
                self._run(send, delivered, False, intent.wa_id)
            case Expired():
                delivered.receipt.done()

    def tried(self, tried: Tried) -> None:
        """Take what came of it."""
        send, receipt = tried.send, tried.delivered.receipt
        known = self._recorder.outbox.delivery(send.message)
        if known is None or known.stage is not Stage.SENDING or known.wa_id is None:
            # An echo or a receipt told the outcome first.
            receipt.done()
            return
        match tried.outcome:
            case MessageSeen() as seen if seen.ack >= 1:
                self.sent(known, seen, tried.delivered.envelope.id)
                receipt.done()
            case MessageSeen() if self._is_over(send):
                self._unresolved(known, "not_acknowledged", tried.delivered.envelope.id)
                receipt.done()
            case MessageSeen():
                # In the page with ack 0: WhatsApp Web sends it by itself. Wait for the echo.
                receipt.later(RETRY)
            case NotSent() as refused:
                failed = Failed(message=send.message, to=send.to, reason=refused.reason)
                self._recorder.message(failed, tried.delivered.envelope.id)
                receipt.done()
            case None if self._recorder.state.state is not State.READY:
                receipt.later(RETRY)
            case None if self._clock.now() >= send.deadline:
                # A synchronised page does not hold it and the time is up: it was not sent.
                expired = Expired(message=send.message, to=send.to, deadline=send.deadline)
                self._recorder.message(expired, tried.delivered.envelope.id)
                receipt.done()
            case None:
                # Not in the page: sent again under the same id, which WhatsApp takes once.
                self._run(send, tried.delivered, False, known.wa_id)
            case GaveUp() as gave_up:
                self._unresolved(known, str(gave_up), tried.delivered.envelope.id)
                receipt.done()
            case PageTimeout() | BrowserError() if self._is_over(send):
                self._unresolved(known, "page_silent", tried.delivered.envelope.id)
                receipt.done()
            case PageTimeout() | BrowserError() as error:
                # Unknown is an outcome of its own. The next delivery looks it up.
                log.info("send.unknown", reason=type(error).__name__)
                receipt.later(tried.again)

    def _is_over(self, send: Send) -> bool:
        return self._clock.now() >= send.deadline + GRACE

    def _unresolved(self, known: Delivery, reason: str, cause: str) -> None:
        """Say that it cannot be told; a later echo settles it."""
        event = Unresolved(
            message=known.message, to=known.to, wa_id=known.wa_id or "", reason=reason
        )
        self._recorder.message(event, cause)

    def sent(self, delivery: Delivery, seen: MessageSeen, cause: str | None) -> None:
        """Record that WhatsApp's server has a message of ours."""
        event = Sent(
            message=delivery.message,
            wa_id=seen.wa_id,
            key=seen.key,
            chat=seen.chat,
            ack=seen.ack,
            at=seen.at,
        )
        self._recorder.message(event, cause)

    def acked(self, delivery: Delivery, acked: AckSeen) -> None:
        """Record as sent what only a receipt tells of; WhatsApp's time of it is not known."""
        event = Sent(
            message=delivery.message,
            wa_id=acked.wa_id,
            key=acked.key,
            chat=acked.chat,
            ack=1,
            at=self._clock.now(),
        )
        self._recorder.message(event)

    def expire(self, send: Send, cause: str) -> bool:
        """Give up a send whose deadline passed while the session was not ready.

        True if its outcome is on the log, so that the command can be dropped.
        """
        known = self._recorder.outbox.delivery(send.message)
        if known is not None and known.stage is not Stage.SENDING:
            return True
        if self._clock.now() < send.deadline or self._recorder.state.state is State.READY:
            return False
        if known is None:
            self._recorder.recall(EVER)
            known = self._recorder.outbox.delivery(send.message)
            if known is not None and known.stage is not Stage.SENDING:
                return True
        if known is None or known.wa_id is None:
            gone = Expired(message=send.message, to=send.to, deadline=send.deadline)
        else:
            # The page took it or did not; there is no page to ask. A later echo settles it.
            gone = Unresolved(
                message=send.message, to=send.to, wa_id=known.wa_id, reason="not_ready_in_time"
            )
        self._recorder.message(gone, cause)
        return True
