"""Messages: the command to send one, the events of its life, and the pure rules.

The id of a `Send` is the idempotency key: however often the command comes,
WhatsApp gets the message once. The WhatsApp id is chosen before sending and
stored in `sending`, so that a lost answer can be looked up by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator

from events.content import Content, Kept, MessageId
from events.envelope import Payload

# --- commands -----------------------------------------------------------------


class Send(Payload):
    """Send a message. `message` is the idempotency key, `to` a chat id (`…@c.us`).

    `body` is the text, or the caption of media; `quoted` the message it answers.
    """

    kind: ClassVar[str] = "send"

    message: str = Field(min_length=1, max_length=128)
    to: str = Field(pattern=r"^[0-9A-Za-z._-]{1,64}@(c\.us|g\.us|lid)$")
    content: Content | None = None
    body: str = Field("", max_length=65_536, validate_default=True)
    quoted: MessageId | None = None
    deadline: AwareDatetime

    @field_validator("body")
    @classmethod
    def _says_something(cls, body: str, known: ValidationInfo) -> str:
        if not body and known.data.get("content") is None:
            raise ValueError("must not be empty without content")
        return body


# --- events -------------------------------------------------------------------


class Sending(Payload):
    """The intent, stored before the page is touched. `wa_id` is the bare id we chose."""

    kind: ClassVar[str] = "sending"

    message: str
    wa_id: str
    to: str
    body: str
    content: Content | None = None
    quoted: MessageId | None = None


class Sent(Payload):
    """WhatsApp's server has it. `key` is the full WhatsApp id, `at` WhatsApp's time.

    A reaction and a deletion are no messages of their own: `key` is then that of
    the message they are about.
    """

    kind: ClassVar[str] = "sent"

    message: str
    wa_id: str
    key: str
    chat: str
    ack: int
    at: datetime


class Failed(Payload):
    """WhatsApp refused it for good; `reason` is a stable word."""

    kind: ClassVar[str] = "failed"

    message: str
    to: str
    reason: str
    detail: str = ""


class Expired(Payload):
    """The deadline passed before it could be sent."""

    kind: ClassVar[str] = "expired"

    message: str
    to: str
    deadline: datetime


class Unresolved(Payload):
    """It could not be told whether WhatsApp has it; a later echo makes it `sent`."""

    kind: ClassVar[str] = "unresolved"

    message: str
    to: str
    wa_id: str
    reason: str


class Received(Payload):
    """A message that the account's chats hold and this service did not send.

    `from_me` marks what the owner wrote on the phone. The event id is made of
    session and WhatsApp id: it states the same fact whoever writes it.
    """

    kind: ClassVar[str] = "received"

    wa_id: str
    key: str
    chat: str
    sender: str
    author: str | None = None
    from_me: bool = False
    type: str = "chat"
    body: str
    at: datetime
    push_name: str | None = None
    quoted: str | None = None
    media: Kept | None = None


class Receipt(Payload):
    """Base of receipts; `message` is our own id of it where we sent it."""

    wa_id: str
    chat: str
    message: str | None = None


class Delivered(Receipt):
    """It reached the phone of the other side."""

    kind: ClassVar[str] = "delivered"


class Read(Receipt):
    """It was read."""

    kind: ClassVar[str] = "read"


class Played(Receipt):
    """A voice note was played."""

    kind: ClassVar[str] = "played"


MessageEvent = Sending | Sent | Failed | Expired | Unresolved | Received | Delivered | Read | Played
Outcome = Sent | Failed | Expired | Unresolved

ACK_OF: dict[str, int] = {"sent": 1, "delivered": 2, "read": 3, "played": 4}
RECEIPTS: dict[int, type[Delivered] | type[Read] | type[Played]] = {
    2: Delivered,
    3: Read,
    4: Played,
}

# --- the outbox: what a session knows of its own sends --------------------------


SEEN = 20_000
"""Received messages that are remembered; a catch-up reads the last half hour of a page again."""


class Stage(StrEnum):
    """Where a send stands."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One send, as of `at`. `ack` is 0 until WhatsApp's server has it."""

    message: str
    to: str
    stage: Stage
    at: datetime
    wa_id: str | None = None
    ack: int = 0
    body: str = ""


@dataclass(slots=True)
class Outbox:
    """What was sent and seen lately, folded from message events.

    Sends are forgotten by their age and not by their number, because a send that is
    forgotten too early is sent again; an unfinished one is never forgotten.
    """

    version: int = 0
    deliveries: dict[str, Delivery] = field(default_factory=dict[str, Delivery])
    by_wa_id: dict[str, str] = field(default_factory=dict[str, str])
    seen: dict[str, None] = field(default_factory=dict[str, None])
    watermark: datetime | None = None
    received: int = 0
    sent: int = 0
    failed: int = 0

    def delivery(self, message: str) -> Delivery | None:
        """Look up a send by its idempotency key."""
        return self.deliveries.get(message)

    def unfinished(self) -> list[Delivery]:
        """Sends whose intent is stored and whose outcome is not, oldest first."""
        return [d for d in self.deliveries.values() if d.stage is Stage.SENDING]

    def apply(self, event: MessageEvent, at: datetime) -> None:
        """Fold in one event that was written at `at`."""
        self.version += 1
        match event:
            case Sending():
                wa_id, body = event.wa_id, event.body
                self._keep(Delivery(event.message, event.to, Stage.SENDING, at, wa_id, 0, body))
            case Sent():
                was = self.deliveries.get(event.message)
                to, ack = (was.to, was.ack) if was else (event.chat, 0)
                self._keep(
                    Delivery(event.message, to, Stage.SENT, at, event.wa_id, max(ack, event.ack))
                )
                self.sent += 1
            case Failed():
                self._keep(self._ended(event, Stage.FAILED, at))
                self.failed += 1
            case Expired():
                self._keep(self._ended(event, Stage.EXPIRED, at))
                self.failed += 1
            case Unresolved():
                self._keep(Delivery(event.message, event.to, Stage.UNRESOLVED, at, event.wa_id))
            case Received():
                self.seen[event.wa_id] = None
                self.received += 0 if event.from_me else 1
                self.watermark = max(self.watermark or event.at, event.at)
                while len(self.seen) > SEEN:
                    del self.seen[next(iter(self.seen))]
            case Delivered() | Read() | Played():
                was = self.of_wa_id(event.wa_id)
                if was is not None:
                    self.deliveries[was.message] = replace(was, ack=ACK_OF[event.kind])

    def of_wa_id(self, wa_id: str) -> Delivery | None:
        """Look up a send by the WhatsApp id we chose for it."""
        message = self.by_wa_id.get(wa_id)
        return None if message is None else self.deliveries.get(message)

    def forget(self, before: datetime) -> None:
        """Let go of the sends that ended before a time."""
        # They lie in the order of their last event, so the first later one ends the search.
        old = list(takewhile(lambda delivery: delivery.at < before, self.deliveries.values()))
        for delivery in old:
            if delivery.stage is not Stage.SENDING:
                del self.deliveries[delivery.message]
                self.by_wa_id.pop(delivery.wa_id or "", None)

    def _ended(self, event: Failed | Expired, stage: Stage, at: datetime) -> Delivery:
        # With its id, or that would never be forgotten.
        was = self.deliveries.get(event.message)
        return Delivery(event.message, event.to, stage, at, was.wa_id if was else None)

    def _keep(self, delivery: Delivery) -> None:
        self.deliveries.pop(delivery.message, None)
        self.deliveries[delivery.message] = delivery
        if delivery.wa_id is not None:
            self.by_wa_id[delivery.wa_id] = delivery.message

    # --- rules ----------------------------------------------------------------

    def begin(self, send: Send, wa_id: str, now: datetime) -> Sending | Expired | None:
        """Decide what a command leads to: an intent, an expiry, or nothing if it is known."""
        if send.message in self.deliveries:
            return None
        if now >= send.deadline:
            return Expired(message=send.message, to=send.to, deadline=send.deadline)
        return Sending(
            message=send.message,
            wa_id=wa_id,
            to=send.to,
            body=send.body,
            content=send.content,
            quoted=send.quoted,
        )

    def acked(self, wa_id: str, chat: str, ack: int) -> list[Delivered | Read | Played]:
        """Decide on a receipt: monotone, and only for what this service sent."""
        delivery = self.of_wa_id(wa_id)
        if delivery is None or delivery.stage is not Stage.SENT or ack <= delivery.ack:
            return []
        receipt = RECEIPTS.get(ack)
        return (
            [] if receipt is None else [receipt(wa_id=wa_id, chat=chat, message=delivery.message)]
        )

    def is_new(self, wa_id: str) -> bool:
        """Whether a message seen in the page was neither sent by us nor recorded."""
        return wa_id not in self.seen and wa_id not in self.by_wa_id


def outcome_word(stage: Stage) -> Literal["queued", "sent", "failed", "expired", "unresolved"]:
    """The word outside for where a send stands."""
    match stage:
        case Stage.SENDING:
            return "queued"
        case Stage.SENT:
            return "sent"
        case Stage.FAILED:
            return "failed"
        case Stage.EXPIRED:
            return "expired"
        case Stage.UNRESOLVED:
            return "unresolved"
