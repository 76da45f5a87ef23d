"""Receiving everything: what the page tells, and what it kept while nobody listened.

WhatsApp is the outbox. After a link, a crash or an outage the page is asked for
everything since the watermark; what is news is recorded, what is known is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.browser.protocol import AckSeen, MessageSeen
from actors.recorder import Recorder
from actors.sending import Sender
from events.content import Kept
from events.message import Received, Stage

NOT_MESSAGES = frozenset(
    {
        *("e2e_notification", "notification", "notification_template", "gp2", "call_log"),
        *("protocol", "broadcast_notification", "newsletter_notification", "debug", "oversized"),
        # A placeholder: the message itself comes later under the same id.
        "ciphertext",
    }
)
"""What WhatsApp keeps in chats beside messages: its own notices."""


class Receiver:
    """One session's way of receiving. Used on the session's own thread only."""

    def __init__(
        self, recorder: Recorder, sender: Sender, keep: Callable[[MessageSeen], None]
    ) -> None:
        """`keep(seen)` fetches the media of a message and ends in `kept`, whatever comes of it."""
        self._recorder, self._sender, self._keep = recorder, sender, keep
        self._held: list[MessageSeen | AckSeen] | None = None
        self._early: dict[str, AckSeen] = {}
        # News in order, while the media of the first is being fetched: what came
        # later waits, or a crash would find the watermark past what is not recorded.
        self._waiting: dict[str, MessageSeen] = {}
        self._fetched: dict[str, Kept | None] = {}

    def begin_anew(self) -> None:
        """Begin with another page: what waited for the last one is read again by the catch-up."""
        self._waiting.clear()
        self._fetched.clear()
        self.begin()

    def begin(self) -> None:
        """Hold what comes until the catch-up is through: older messages go first."""
        self._held = self._held or []

    def kept(self, wa_id: str, kept: Kept) -> None:
        """Take what came of a message's media, and record what waited for it."""
        if wa_id in self._waiting:
            self._fetched[wa_id] = kept
            self._record_waiting()

    def see(self, seen: MessageSeen) -> None:
        """Take a message the page tells of."""
        if self._held is not None:
            self._held.append(seen)
        else:
            self._record(seen)

    def acked(self, acked: AckSeen) -> None:
        """Take a receipt the page tells of."""
        if self._held is not None:
            self._held.append(acked)
        else:
            self._receipt(acked)

    def catch_up(self, messages: Sequence[MessageSeen]) -> None:
        """Record what is missing, oldest first."""
        for message in messages:
            self._record(message)

    def caught_up(self) -> None:
        """Record what came meanwhile, and what comes from now on as it comes."""
        held, self._held = self._held or [], None
        for later in held:
            if isinstance(later, MessageSeen):
                self._record(later)
            else:
                self._receipt(later)

    def _record(self, seen: MessageSeen) -> None:
        # WhatsApp may tell again of what was recorded, or sent by us, long ago.
        self._recorder.recall(seen.at)
        outbox = self._recorder.outbox
        ours = outbox.by_wa_id.get(seen.wa_id)
        if ours is not None:
            self._echo(ours, seen)
        elif seen.kind not in NOT_MESSAGES and outbox.is_new(seen.wa_id):
            self._news(seen)

    def _news(self, seen: MessageSeen) -> None:
        if seen.wa_id in self._waiting:
            return
        self._waiting[seen.wa_id] = seen
        if seen.media is not None:
            self._keep(seen)
        else:
            self._fetched[seen.wa_id] = None
            self._record_waiting()

    def _record_waiting(self) -> None:
        while self._waiting:
            wa_id, seen = next(iter(self._waiting.items()))
            if wa_id not in self._fetched:
                return
            kept = self._fetched.pop(wa_id)
            del self._waiting[wa_id]
            self._recorder.message(
                Received(
                    wa_id=seen.wa_id,
                    key=seen.key,
                    chat=seen.chat,
                    sender=seen.sender,
                    author=seen.author,
                    from_me=seen.from_me,
                    type=seen.kind,
                    body=seen.body,
                    at=seen.at,
                    push_name=seen.push_name,
                    quoted=seen.quoted,
                    media=kept,
                )
            )

    def _echo(self, message: str, seen: MessageSeen) -> None:
        """Our own message, as WhatsApp keeps it: it may settle what was unknown."""
        delivery = self._recorder.outbox.delivery(message)
        if delivery is None or seen.ack < 1:
            return
        if delivery.stage in {Stage.SENDING, Stage.UNRESOLVED}:
            self._sender.sent(delivery, seen, None)
        self._receipts(seen.wa_id, seen.chat, seen.ack)

    def replay(self) -> None:
        """Record the receipts that came before their message was recorded as sent."""
        for wa_id, acked in list(self._early.items()):
            delivery = self._recorder.outbox.of_wa_id(wa_id)
            if delivery is None or delivery.stage is not Stage.SENDING:
                del self._early[wa_id]
                self._receipt(acked)

    def _receipt(self, acked: AckSeen) -> None:
        delivery = self._recorder.outbox.of_wa_id(acked.wa_id)
        if delivery is not None and delivery.stage is Stage.SENDING:
            # The other phone can be faster than the answer to our own call.
            early = self._early.get(acked.wa_id)
            if early is None or acked.ack > early.ack:
                self._early[acked.wa_id] = acked
        elif delivery is not None and delivery.stage is Stage.UNRESOLVED and acked.ack >= 1:
            # WhatsApp has it after all.
            self._sender.acked(delivery, acked)
            self._receipts(acked.wa_id, acked.chat, acked.ack)
        else:
            self._receipts(acked.wa_id, acked.chat, acked.ack)

    def _receipts(self, wa_id: str, chat: str, ack: int) -> None:
        for receipt in self._recorder.outbox.acked(wa_id, chat, ack):
            self._recorder.message(receipt)
