"""WhatsApp's server: what becomes of a message, who is told, who may stay connected."""

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.simulator import frames
from tests.simulator.connection import Connection
from tests.simulator.directory import Device, Directory, lid_of, number_of
from tests.simulator.frames import Frame
from tests.simulator.knobs import KnobBoard
from tests.simulator.ledger import Draft, Ledger, Message
from tests.simulator.pairing import Pairing
from tests.simulator.receipts import Receipts


class Switchboard:
    """Joins connected pages, the directory and the ledger."""

    def __init__(self, directory: Directory, ledger: Ledger, knobs: KnobBoard) -> None:
        self.directory = directory
        self.ledger = ledger
        self.knobs = knobs
        self.pairing = Pairing(knobs, self.push)
        self.receipts = Receipts(ledger, knobs, self._tell_receipt)
        self.connections: dict[str, Connection] = {}
        self.losing: Counter[str] = Counter()  # how many sends of an account vanish on their way

    def push(self, device: str, frame: Frame) -> None:
        """Send a frame to a page, if it is connected."""
        if connection := self.connections.get(device):
            connection.push(frame)

    # Coming and going.

    def hello(
        self, connection: Connection, *, token: str | None, version: str, acks: Mapping[str, int]
    ) -> None:
        """A page has connected: an unlinked one is shown QR codes, a linked one is let in."""
        linked = self.directory.device(connection.device)
        knobs = self.knobs.of(number=linked.number if linked else None, device=connection.device)
        if knobs.refuse_sockets:
            connection.close()
            return
        if _parts(version) < _parts(knobs.min_version):
            connection.push({"t": "deprecated"})
            return
        if not self._admit(connection, knobs.conflict):
            return
        if token is None:
            self.pairing.show(connection.device)
        elif linked is None or linked.token != token:
            connection.push({"t": "login-fail", "code": 401})
        elif knobs.blocked:
            connection.push({"t": "state", "state": knobs.blocked, "mode": knobs.blocked})
        else:
            connection.push({"t": "login-ok"})
            self._catch_up(linked, acks)

    def gone(self, connection: Connection) -> None:
        """A page's socket has closed."""
        if self.connections.get(connection.device) is connection:
            del self.connections[connection.device]
            self.pairing.stop(connection.device)

    def link(self, device: str, number: str, pushname: str) -> Device:
        """The phone of that number has let a page in."""
        self.pairing.stop(device)
        info = self.connections[device].info
        linked = self.directory.link(
            device, number, pushname=pushname, name=f"{info.get('name')} ({info.get('os')})"
        )
        self.ledger.forget_device(device)
        self.ledger.give_history(
            device, number, self.knobs.of(number=number, device=device).history
        )
        self.push(device, frames.pair_success(linked, self.directory.pushname(number)))
        self._catch_up(linked, {})
        return linked

    def forget_all(self) -> None:
        """Nothing is known any more: pages that think they are linked hear otherwise."""
        self.losing.clear()
        for connection in self.connections.values():
            connection.close()

    def forget(self, device: str) -> None:
        """A device is no longer linked."""
        self.directory.unlink(device)
        self.ledger.forget_device(device)

    def unlink(self, device: str) -> None:
        """The phone has removed a device from its list; the page hears of it, now or later."""
        self.forget(device)
        self.push(device, {"t": "login-fail", "code": 401})

    def _admit(self, connection: Connection, loser: str) -> bool:
        present = self.connections.get(connection.device)
        if present is not None and loser == "newer":
            connection.push({"t": "conflict"})
            return False
        if present is not None:
            present.push({"t": "conflict"})
        self.connections[connection.device] = connection
        return True

    def _catch_up(self, device: Device, acks: Mapping[str, int]) -> None:
        """Tell a page what it missed: its groups, messages in order, receipts of its own."""
        groups = [frames.group(group) for group in self.directory.groups_of(device.number)]
        self.push(device.id, {"t": "groups", "groups": groups})
        due = self.ledger.due(device.id)
        self.push(device.id, {"t": "offline", "count": len(due)})
        for message, history in due:
            self._deliver(device.id, message, history=history)
        for message_id, ack in acks.items():
            message = self.ledger.find(device.number, message_id, from_me=True)
            # Ack 1 is the answer to the send itself, which the page repeats.
            if message is not None and message.ack > max(ack, 1):
                self._tell_receipt(message, message.ack, only=device.id)
        self.push(device.id, {"t": "offline-end"})

    # Messages.

    def send(
        self,
        connection: Connection,
        seq: int,
        message_id: str,
        to: str,
        body: str,
        kind: str,
        more: str = "{}",
    ) -> None:
        """A page sends: take the message once, however often it comes, and let it be answered."""
        device = self.directory.device(connection.device)
        if device is None:
            connection.push({"re": seq, "error": "not-authorized"})
            return
        if self.losing[device.number] > 0:
            self.losing[device.number] -= 1
            return
        if error := self._refusal(to):
            connection.push({"re": seq, "error": error})
            return
        draft = Draft(
            device.number,
            message_id,
            from_me=True,
            chat=to,
            body=body,
            type=kind,
            ts=int(time.time()),
            ack=0,
            author=lid_of(device.number) if to.endswith("@g.us") else "",
            pushname=self.directory.pushname(device.number),
            device=device.id,
            more=more,
        )
        others = [
            other.id for other in self.directory.devices(device.number) if other.id != device.id
        ]
        message, new = self.ledger.take(draft, due=others)
        connection.answers[message.id] = seq
        if new:
            for other in others:
                self._deliver(other, message)
            self._forward(message)
        if message.ack >= 1:
            self._tell_receipt(message, 1)
        self.receipts.begin(message)

    def receive(
        self,
        number: str,
        sender: str,
        body: str,
        *,
        group: str = "",
        message_id: str = "",
        kind: str = "chat",
        ts: int | None = None,
        silent: bool = False,
        more: str = "{}",
    ) -> tuple[Message, bool]:
        """Somebody sends to an account: every linked device gets it, now or when it connects.

        A silent one is only there for devices that are linked later, as history.
        """
        contact = self.directory.contact(sender)
        draft = Draft(
            number,
            message_id or secrets.token_hex(10).upper(),
            from_me=False,
            chat=group or contact.chat,
            body=body,
            type=kind,
            ts=int(time.time()) if ts is None else ts,
            author=contact.lid if group else "",
            pushname=self.directory.pushname(sender) or sender,
            more=more,
        )
        due = [] if silent else [device.id for device in self.directory.devices(number)]
        message, new = self.ledger.take(draft, due=due)
        if new:
            for device in due:
                self._deliver(device, message)
        return message, new

    def react(self, connection: Connection, seq: int, message_id: str, emoji: str) -> None:
        """A page reacts to a message."""
        if device := self.directory.device(connection.device):
            self.ledger.react(device.number, message_id, emoji)
        connection.push({"re": seq})

    def revoke(self, connection: Connection, seq: int, message_id: str) -> None:
        """A page deletes a message for everyone."""
        if device := self.directory.device(connection.device):
            self.ledger.revoke(device.number, message_id)
        connection.push({"re": seq})

    def received(self, device: str, seqs: Sequence[int]) -> None:
        """A page has kept messages."""
        for message in self.ledger.delivered(device, seqs):
            if not message.from_me:
                self.ledger.raise_ack(message.number, [message.id], 2, from_me=False)

    def seen(self, device: str, messages: Sequence[str]) -> None:
        """Somebody has read messages on a page."""
        if linked := self.directory.device(device):
            self.ledger.raise_ack(linked.number, messages, 3, from_me=False)

    # Questions of a page.

    def exists(self, wid: str) -> Frame:
        """Whether an address is on WhatsApp, and its two forms."""
        return frames.exists(self.directory.contact(number_of(wid)))

    def group(self, group_id: str) -> Frame:
        """A group's subject and participants."""
        group = self.directory.group(group_id)
        return frames.group(group) if group else {"error": "item-not-found"}

    def _refusal(self, chat: str) -> str:
        if chat.endswith("@g.us"):
            return "" if self.directory.group(chat) else "item-not-found"
        return "" if self.directory.contact(number_of(chat)).registered else "not-on-whatsapp"

    def _forward(self, message: Message) -> None:
        """Our message reaches those of its recipients who are accounts here."""
        group = self.directory.group(message.chat) if message.chat.endswith("@g.us") else None
        recipients = group.members if group else (number_of(message.chat),)
        for number in recipients:
            if number != message.number and self.directory.is_account(number):
                self.receive(
                    number,
                    message.number,
                    message.body,
                    group=group.id if group else "",
                    message_id=message.id,
                    kind=message.type,
                    more=message.more,
                )

    def _deliver(self, device: str, message: Message, *, history: bool = False) -> None:
        self.push(device, frames.message(message, history=history))

    def _tell_receipt(self, message: Message, ack: int, *, only: str = "") -> None:
        for device in self.directory.devices(message.number):
            if only and device.id != only:
                continue
            connection = self.connections.get(device.id)
            if connection is None:
                continue
            # The first is the answer to the page that sent; the other devices hear a receipt.
            if ack == 1 and (seq := connection.answers.pop(message.id, None)) is not None:
                connection.push({"re": seq, "ts": message.ts})
            else:
                connection.push(frames.receipt(message, ack, int(time.time())))


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
