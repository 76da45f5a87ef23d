"""Commands on their way: written to the work queue once, whatever is asked again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.js import errors as js_errors

from events import codec, subjects
from events.clock import utc_now
from events.connection import AWAY
from events.envelope import Payload, new_id
from events.live import Refused, Settled
from events.message import Send
from events.pool import Create, CreateRefused
from events.session_events import SessionCommand
from events.subjects import SessionId
from gateway.broker import Broker, BrokerAway
from gateway.outcomes import Heard
from gateway.problems import Problem

SOURCE = "wa/gateway"
INBOX_FULL = 10077


@dataclass(frozen=True, slots=True)
class Published:
    """A command that is in the queue. `duplicate`: it was there before."""

    id: str
    duplicate: bool

    def led_to(self, heard: Heard) -> bool:
        """Tell whether something was said because of this command."""
        if isinstance(heard.payload, Refused | Settled) and heard.payload.command == self.id:
            return True
        return heard.envelope.causationid == self.id


class Commands:
    """Publishes commands. Every call raises BrokerAway, or Problem 429 for a full inbox."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def create(self, session: SessionId, fresh: bool) -> Published:
        """Ask the pool for a session."""
        command = Create(bot=session.bot, fresh=fresh)
        return await self._publish(subjects.create_command(session.user), session, command)

    async def tell(self, session: SessionId, command: SessionCommand) -> Published:
        """Tell a session to do something."""
        subject = subjects.session_command(session, command.kind)
        return await self._publish(subject, session, command)

    async def send(self, session: SessionId, send: Send, once: str) -> Published:
        """Hand a message over. `once` is the id under which the queue takes it one time only."""
        return await self._publish(subjects.send_command(session), session, send, once)

    async def _publish(
        self, subject: str, session: SessionId, command: Payload, once: str | None = None
    ) -> Published:
        envelope = codec.seal(
            command,
            subject=session.dotted,
            source=SOURCE,
            at=utc_now(),
            event_id=once or new_id(),
        )
        raw = codec.encode(envelope)
        # A lost answer is asked for once more under the same id, which is stored once.
        for last in (False, True):
            try:
                ack = await self._broker.jetstream.publish(
                    subject, raw, stream=subjects.COMMANDS, headers={"Nats-Msg-Id": envelope.id}
                )
            except js_errors.APIError as error:
                if error.err_code == INBOX_FULL:
                    detail = "Too many commands wait for this session already."
                    raise Problem(429, "inbox_full", detail, retry_after=5) from None
                raise BrokerAway from error
            except (nats_errors.TimeoutError, TimeoutError) as error:
                if last:
                    raise BrokerAway from error
            except AWAY as error:
                raise BrokerAway from error
            else:
                return Published(envelope.id, bool(ack.duplicate))
        raise BrokerAway


def send_id(session: SessionId, message: str) -> str:
    """Make the id of a send of a session and its message key."""
    told = f"{session.dotted}/{message}".encode()
    return f"send-{hashlib.sha256(told).hexdigest()[:40]}"


STATUS_OF: dict[str, int] = {
    "user_limit": 429,
    "pool_full": 503,
    "id_taken": 409,
    "bad_id": 400,
    "launches_paused": 503,
}
"""What HTTP answers to each reason for which a create is refused on the log."""


def refusal(heard: Heard, command: Published) -> Problem | None:
    """Read what was heard as a no to a command, if it is one."""
    if not command.led_to(heard):
        return None
    match heard.payload:
        case Refused() as refused:
            return Problem(
                refused.status if 400 <= refused.status < 600 else 409,
                refused.reason,
                _sentence(refused.detail),
                retry_after=refused.retry_after,
            )
        case CreateRefused() as refused:
            return Problem(STATUS_OF[refused.reason], refused.reason, _sentence(refused.detail))
        case _:
            return None


def _sentence(text: str) -> str:
    text = text.strip() or "This cannot be done now"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
