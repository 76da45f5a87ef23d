"""What a test or a person can make happen; the table is in `control.py`."""

import json
import sqlite3
from base64 import b64decode
from dataclasses import asdict

from tests.simulator import database
from tests.simulator.connection import Connection
from tests.simulator.directory import Contact, Group
from tests.simulator.frames import Frame
from tests.simulator.knobs import UnknownKnobError
from tests.simulator.shelf import Shelf
from tests.simulator.switchboard import Switchboard

Answer = dict[str, object]


class RefusedError(Exception):
    """A request that cannot be met, with the HTTP status that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Verbs:
    """Each method is a verb, its parameters are the fields of the body."""

    def __init__(self, switchboard: Switchboard, file: sqlite3.Connection, shelf: Shelf) -> None:
        self._switchboard = switchboard
        self._file = file
        self._shelf = shelf

    def scan(self, *, number: str, code: str = "", device: str = "", pushname: str = "") -> Answer:
        pairing = self._switchboard.pairing
        page = device if device and pairing.ref(device) else pairing.page_of_qr(code)
        if page is None:
            raise RefusedError(404, "no page shows this QR code now")
        return self._link(page, number, pushname)

    def enter(self, *, number: str, code: str, pushname: str = "") -> Answer:
        page = self._switchboard.pairing.page_of_code(code, number)
        if page is None:
            raise RefusedError(404, "no page shows this code for that number")
        return self._link(page, number, pushname)

    def incoming(
        self,
        *,
        number: str,
        sender: str,
        body: str,
        group: str = "",
        id: str = "",  # noqa: A002
        type: str = "chat",  # noqa: A002
        ts: int = 0,
        history: bool = False,
        content: str = "",
        mime: str = "",
        filename: str = "",
    ) -> Answer:
        more = self._shelf.put(b64decode(content), mime, filename) if content else {}
        if group and self._switchboard.directory.group(group) is None:
            raise RefusedError(404, f"there is no group {group}")
        message, new = self._switchboard.receive(
            _number(number),
            _number(sender),
            body,
            group=group,
            message_id=id,
            kind=type,
            ts=ts or None,
            silent=history,
            more=json.dumps(more),
        )
        return {"id": message.id, "chat": message.chat, "seq": message.seq, "new": new}

    def unlink(self, *, number: str, device: str = "") -> Answer:
        devices = [
            d.id
            for d in self._switchboard.directory.devices(_number(number))
            if device in ("", d.id)
        ]
        if not devices:
            raise RefusedError(404, "that account has no such linked device")
        for each in devices:
            self._switchboard.unlink(each)
        return {"unlinked": devices}

    def contact(
        self, *, number: str, name: str = "", registered: bool = True, lid_chat: bool = False
    ) -> Answer:
        contact = Contact(_number(number), name, registered, lid_chat)
        self._switchboard.directory.put_contact(contact)
        return plain_contact(contact)

    def group(self, *, subject: str, members: list[str], id: str = "") -> Answer:  # noqa: A002
        numbers = tuple(_number(member) for member in members)
        group = Group(
            id or f"1203630{abs(hash((subject, numbers))) % 10**11:011d}@g.us", subject, numbers
        )
        self._switchboard.directory.put_group(group)
        return plain_group(group)

    def config(self, *, number: str = "", device: str = "", **knobs: object) -> Answer:
        board = self._switchboard.knobs
        try:
            board.turn(knobs, scope=number or device or None)
        except UnknownKnobError as error:
            raise RefusedError(400, str(error)) from error
        return dict(board.of(number=number, device=device).plain())

    def ack(self, *, number: str, id: str, ack: int) -> Answer:  # noqa: A002
        message = self._switchboard.ledger.find(_number(number), id, from_me=True)
        if message is None:
            raise RefusedError(404, "that account has not sent such a message")
        self._switchboard.receipts.give(message, ack)
        return {}

    def release(self) -> Answer:
        self._switchboard.receipts.resume()
        return {}

    def lose(self, *, number: str, count: int = 1) -> Answer:
        self._switchboard.losing[_number(number)] = count
        return {}

    def state(self, *, state: str, mode: str = "", number: str = "", device: str = "") -> Answer:
        return self._tell(number, device, {"t": "state", "state": state, "mode": mode})

    def block(self, *, number: str, state: str = "TOS_BLOCK") -> Answer:
        self._switchboard.knobs.turn({"blocked": state}, scope=_number(number))
        if not state:
            return {}
        return self._tell(number, "", {"t": "state", "state": state, "mode": state}, somebody=False)

    def conflict(self, *, number: str = "", device: str = "") -> Answer:
        return self._tell(number, device, {"t": "conflict"})

    def update(self, *, number: str = "", device: str = "") -> Answer:
        return self._tell(number, device, {"t": "update"})

    def hang(self, *, number: str = "", device: str = "", ms: int = 0) -> Answer:
        return self._tell(number, device, {"t": "hang", "ms": ms})

    def drop(self, *, number: str = "", device: str = "") -> Answer:
        dropped = (
            self._connections(number, device)
            if number or device
            else list(self._switchboard.connections.values())
        )
        for connection in dropped:
            connection.close()
        return {"devices": [connection.device for connection in dropped]}

    def lose_media(self) -> Answer:
        self._shelf.empty()
        return {}

    def reset(self) -> Answer:
        self._shelf.empty()
        database.empty(self._file)
        self._switchboard.knobs.reset()
        self._switchboard.forget_all()
        return {}

    def _link(self, page: str, number: str, pushname: str) -> Answer:
        board, directory = self._switchboard, self._switchboard.directory
        allowed = board.knobs.of(number=_number(number), device=page).max_devices
        if len(directory.devices(number)) >= allowed:
            raise RefusedError(409, f"{number} has {allowed} linked devices already")
        device = board.link(
            page, number, pushname or directory.pushname(number) or f"User {number}"
        )
        return {"device": device.id, "number": number, "slot": device.slot}

    def _tell(self, number: str, device: str, frame: Frame, *, somebody: bool = True) -> Answer:
        connections = self._connections(number, device)
        if somebody and not connections:
            raise RefusedError(404, "no such page is connected")
        for connection in connections:
            connection.push(frame)
        return {"devices": [connection.device for connection in connections]}

    def _connections(self, number: str, device: str) -> list[Connection]:
        if not (number or device):
            raise RefusedError(400, "say which: number or device")
        wanted = {device} if device else {d.id for d in self._switchboard.directory.devices(number)}
        return [c for id_, c in self._switchboard.connections.items() if id_ in wanted]


def _number(text: str) -> str:
    if not text.isdigit():
        raise RefusedError(400, f"a phone number is digits only, with the country code: {text!r}")
    return text


def plain_contact(contact: Contact) -> dict[str, object]:
    return dict(asdict(contact)) | {"wid": contact.wid, "lid": contact.lid, "chat": contact.chat}


def plain_group(group: Group) -> dict[str, object]:
    return asdict(group)
