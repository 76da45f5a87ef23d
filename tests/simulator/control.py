"""What a test, or a person at the phone page, may ask of the simulator.

`POST /_sim/<verb>` takes a JSON object; `GET /_sim/<question>` takes a query. Both answer
JSON; what is wrong with a request is in `error`, with status 400, 404 or 409.

| POST verb | Fields (those with a default are optional) | What happens |
|---|---|---|
| `scan` | `number`, `code`="" or `device`="", `pushname`="" | the phone of `number` scans the QR text `code` (or whatever `device` shows) |
| `enter` | `number`, `code`, `pushname`="" | the phone types the code that a page shows for its number |
| `incoming` | `number`, `sender`, `body`, `group`="", `id`="", `type`="chat", `ts`=now, `history`=false | `sender` writes to the account; `history`: only for devices linked later |
| `unlink` | `number`, `device`="" | the phone removes a device, or all of them |
| `contact` | `number`, `name`="", `registered`=true, `lid_chat`=false | says something particular about a number |
| `group` | `subject`, `members`, `id`="" | makes a group; `members` are numbers |
| `config` | `number`="", `device`="", any knob | turns knobs for all, one account or one device (see `knobs.py`) |
| `ack` | `number`, `id`, `ack` | gives one receipt for a message of the account now |
| `release` | | lets messages whose acks were withheld go on, as the knobs now say |
| `lose` | `number`, `count`=1 | the next sends of the account vanish on their way |
| `state` | `number`="", `device`="", `state`, `mode`="" | pages are told this Socket state (and Stream mode) |
| `block` | `number`, `state`="TOS_BLOCK" | the account is blocked, now and at every later login; `state`="" ends it |
| `conflict` | `number`="", `device`="" | pages are told that another page took over |
| `update` | `number`="", `device`="" | pages are told that a new version is out |
| `drop` | `number`="", `device`="" | sockets close (no field: all of them) |
| `hang` | `number`="", `device`="", `ms`=0 | pages stop answering for so long; 0: for ever |
| `reset` | | forgets accounts, devices, messages and turned knobs |

| GET question | Query | Answer |
|---|---|---|
| `devices` | `number`, `device` | pages that are connected or linked, with `connected`, `ready`, `ref`, `presence` |
| `accounts` | | numbers, with names, devices and how many messages |
| `messages` | `number`, `chat`, `direction` (in, out), `id`, `after` (a `seq`) | messages in order of arrival |
| `repeats` | `number` | how often sends were repeated: in all, and by message id |
| `contacts` | `number` | one contact, with its addresses |
| `groups` | `number` | the account's groups |
| `config` | `number`, `device` | the knobs that hold |
| `phone` | | the phone as a web page |
"""

import inspect
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from tests.simulator import database
from tests.simulator.connection import Connection, Frame
from tests.simulator.directory import Contact, Group
from tests.simulator.knobs import UnknownKnobError
from tests.simulator.ledger import Message
from tests.simulator.switchboard import Switchboard

PHONE_PAGE = Path(__file__).parent / "phone.html"

Answer = dict[str, object] | list[dict[str, object]]


class RefusedError(Exception):
    """A request that cannot be met, with the HTTP status that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Control:
    """The verbs and the questions; every public method of the two classes below is one."""

    def __init__(self, switchboard: Switchboard, file: sqlite3.Connection) -> None:
        self._verbs = Verbs(switchboard, file)
        self._questions = Questions(switchboard)

    def routes(self) -> list[web.RouteDef]:
        """Where they are asked."""
        return [
            web.get("/_sim/phone", self._phone),
            web.get("/_sim/{name}", self._ask),
            web.post("/_sim/{name}", self._do),
        ]

    async def _phone(self, request: web.Request) -> web.Response:
        return web.Response(text=PHONE_PAGE.read_text(), content_type="text/html")

    async def _ask(self, request: web.Request) -> web.Response:
        return _answer(self._questions, request.match_info["name"], dict(request.query))

    async def _do(self, request: web.Request) -> web.Response:
        text = await request.text()
        try:
            fields = json.loads(text or "{}")
        except ValueError as error:
            return _error(400, f"not JSON: {error}")
        if not isinstance(fields, dict):
            return _error(400, "the body is to be a JSON object")
        return _answer(self._verbs, request.match_info["name"], fields)


class Verbs:
    """Each method is a verb, its parameters are the fields of the body."""

    def __init__(self, switchboard: Switchboard, file: sqlite3.Connection) -> None:
        self._switchboard = switchboard
        self._file = file

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
        self, *, number: str, sender: str, body: str, group: str = "", id: str = "", type: str = "chat",  # noqa: A002
        ts: int = 0, history: bool = False,
    ) -> Answer:
        if group and self._switchboard.directory.group(group) is None:
            raise RefusedError(404, f"there is no group {group}")
        message, new = self._switchboard.receive(
            _number(number), _number(sender), body, group=group, message_id=id, kind=type, ts=ts or None, silent=history
        )
        return {"id": message.id, "chat": message.chat, "seq": message.seq, "new": new}

    def unlink(self, *, number: str, device: str = "") -> Answer:
        devices = [d.id for d in self._switchboard.directory.devices(_number(number)) if device in ("", d.id)]
        if not devices:
            raise RefusedError(404, "that account has no such linked device")
        for each in devices:
            self._switchboard.unlink(each)
        return {"unlinked": devices}

    def contact(self, *, number: str, name: str = "", registered: bool = True, lid_chat: bool = False) -> Answer:
        contact = Contact(_number(number), name, registered, lid_chat)
        self._switchboard.directory.put_contact(contact)
        return _contact(contact)

    def group(self, *, subject: str, members: list[str], id: str = "") -> Answer:  # noqa: A002
        numbers = tuple(_number(member) for member in members)
        group = Group(id or f"1203630{abs(hash((subject, numbers))) % 10**11:011d}@g.us", subject, numbers)
        self._switchboard.directory.put_group(group)
        return _group(group)

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
        dropped = self._connections(number, device) if number or device else list(self._switchboard.connections.values())
        for connection in dropped:
            connection.close()
        return {"devices": [connection.device for connection in dropped]}

    def reset(self) -> Answer:
        database.empty(self._file)
        self._switchboard.knobs.reset()
        for connection in self._switchboard.connections.values():
            connection.close()
        return {}

    def _link(self, page: str, number: str, pushname: str) -> Answer:
        board, directory = self._switchboard, self._switchboard.directory
        allowed = board.knobs.of(number=_number(number), device=page).max_devices
        if len(directory.devices(number)) >= allowed:
            raise RefusedError(409, f"{number} has {allowed} linked devices already")
        device = board.link(page, number, pushname or directory.pushname(number) or f"User {number}")
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


class Questions:
    """Each method is a question, its parameters are the fields of the query."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    def devices(self, *, number: str = "", device: str = "") -> Answer:
        board = self._switchboard
        linked = {d.id: d for d in board.directory.devices()}
        answer: list[dict[str, object]] = []
        for id_ in dict.fromkeys([*linked, *board.connections]):
            entry, connection = linked.get(id_), board.connections.get(id_)
            if device not in ("", id_) or number not in ("", entry.number if entry else None):
                continue
            answer.append(
                {
                    "device": id_,
                    "number": entry.number if entry else None,
                    "slot": entry.slot if entry else None,
                    "name": entry.name if entry else None,
                    "linked": entry is not None,
                    "connected": connection is not None,
                    "ready": connection is not None and connection.ready,
                    "ref": board.pairing.ref(id_),
                    "presence": connection.presence if connection else {},
                }
            )
        return answer

    def accounts(self) -> Answer:
        board = self._switchboard
        return [
            {
                "number": number,
                "pushname": board.directory.pushname(number),
                "devices": len(board.directory.devices(number)),
                "messages": len(board.ledger.messages(number)),
            }
            for number in board.directory.accounts()
        ]

    def messages(
        self, *, number: str, chat: str = "", direction: str = "", id: str = "", after: str = "0"  # noqa: A002
    ) -> Answer:
        found = self._switchboard.ledger.messages(number, chat=chat, direction=direction, after=int(after))
        return [_message(message) for message in found if id in ("", message.id)]

    def repeats(self, *, number: str) -> Answer:
        sent = self._switchboard.ledger.messages(number, direction="out")
        by_id = {message.id: message.repeats for message in sent if message.repeats}
        return {"total": sum(by_id.values()), "by_id": by_id}

    def contacts(self, *, number: str) -> Answer:
        return _contact(self._switchboard.directory.contact(number))

    def groups(self, *, number: str) -> Answer:
        return [_group(group) for group in self._switchboard.directory.groups_of(number)]

    def config(self, *, number: str = "", device: str = "") -> Answer:
        return dict(self._switchboard.knobs.of(number=number, device=device).plain())


def _answer(methods: Verbs | Questions, name: str, fields: dict[str, object]) -> web.Response:
    names = [each for each in vars(type(methods)) if not each.startswith("_")]
    if name not in names:
        return _error(404, f"nothing here is called {name!r}; there are: {', '.join(names)}")
    method: Callable[..., Answer] = getattr(methods, name)
    try:
        _check(name, method, fields)
        return web.json_response(method(**fields))
    except RefusedError as error:
        return _error(error.status, error.reason)


def _check(name: str, method: Callable[..., Answer], fields: dict[str, object]) -> None:
    parameters = inspect.signature(method).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    if missing := [n for n, p in named.items() if p.default is p.empty and n not in fields]:
        raise RefusedError(400, f"{name} needs {', '.join(missing)}")
    if not open_ended and (unknown := fields.keys() - named.keys()):
        raise RefusedError(400, f"{name} does not take {', '.join(sorted(unknown))}; it takes {', '.join(named) or 'nothing'}")
    for field, value in fields.items():
        kind = list if field == "members" else named[field].annotation if field in named else object
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise RefusedError(400, f"{name}: {field} is to be a {kind.__name__}, not {value!r}")


def _number(text: str) -> str:
    if not text.isdigit():
        raise RefusedError(400, f"a phone number is digits only, with the country code: {text!r}")
    return text


def _message(message: Message) -> dict[str, object]:
    return dict(message.plain())


def _contact(contact: Contact) -> dict[str, object]:
    return asdict(contact) | {"wid": contact.wid, "lid": contact.lid, "chat": contact.chat}


def _group(group: Group) -> dict[str, object]:
    return asdict(group)


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
