"""What a test, or a person at the phone page, may ask of the simulator.

`POST /_sim/<verb>` takes a JSON object; `GET /_sim/<question>` takes a query. Both answer
JSON; what is wrong with a request is in `error`, with status 400, 404 or 409.

| POST verb | Fields (those with a default are optional) | What happens |
|---|---|---|
| `scan` | `number`, `code`="" or `device`="", `pushname`="" | the phone of `number` scans the QR text `code` (or whatever `device` shows) |
| `enter` | `number`, `code`, `pushname`="" | the phone types the code that a page shows for its number |
| `incoming` | `number`, `sender`, `body`, `group`="", `id`="", `type`="chat", `ts`=now, `history`=false, `content`="", `mime`="", `filename`="" | `sender` writes to the account; `history`: only for devices linked later; `content`: the file it carries, in base64 |
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
| `lose_media` | | files are there no more: downloads fail |
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
"""  # noqa: E501

import inspect
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from tests.simulator.questions import Questions
from tests.simulator.shelf import Shelf
from tests.simulator.switchboard import Switchboard
from tests.simulator.verbs import RefusedError, Verbs

PHONE_PAGE = Path(__file__).parent / "phone.html"

Answer = dict[str, object] | list[dict[str, object]]


class Control:
    """The verbs and the questions; every public method of those two classes is one."""

    def __init__(self, switchboard: Switchboard, file: sqlite3.Connection, shelf: Shelf) -> None:
        self._verbs = Verbs(switchboard, file, shelf)
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
        raise RefusedError(
            400,
            f"{name} does not take {', '.join(sorted(unknown))};"
            f" it takes {', '.join(named) or 'nothing'}",
        )
    for field, value in fields.items():
        if field in named and not _is_a(named[field].annotation, value):
            kind = named[field].annotation
            raise RefusedError(400, f"{name}: {field} is to be {kind}, not {value!r}")


def _is_a(annotation: object, value: object) -> bool:
    if annotation == list[str]:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if isinstance(value, bool):
        return annotation is bool
    return isinstance(annotation, type) and isinstance(value, annotation)


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
