"""The phone as a Python client: what a test asks of the simulator, typed."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

T = TypeVar("T")

# What the simulator answers is typed once, where it becomes one of the classes below.
Json = Any


class PhoneError(Exception):
    """The simulator refused: `status` and `reason` are its answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Device:
    """A page that is connected or linked (or both)."""

    device: str
    number: str | None
    slot: int | None
    name: str | None
    linked: bool
    connected: bool
    ready: bool
    ref: str | None  # what its QR code says now, if it shows one
    presence: dict[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    """A message of an account; `ack` is 1 accepted, 2 delivered, 3 read."""

    seq: int
    number: str
    id: str
    from_me: bool
    chat: str
    author: str
    pushname: str
    body: str
    type: str
    ts: int
    ack: int
    repeats: int
    device: str
    direction: str
    more: str = "{}"  # what it says besides its text, as JSON

    @property
    def carried(self) -> Json:
        """What it says besides its text."""
        return json.loads(self.more)


@dataclass(frozen=True, slots=True)
class Contact:
    """A number's addresses; `chat` is where the chat with it lives."""

    number: str
    name: str
    registered: bool
    lid_chat: bool
    wid: str
    lid: str
    chat: str


class Phone:
    """All phones of the simulator at `url`; use it as a context manager, or close it."""

    def __init__(self, url: str, *, keep: bool = False) -> None:
        """`keep` connections, which is quicker; after a kill of the simulator they are dead."""
        self.url = url
        self._keep = keep
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def scan(
        self, code: str = "", *, number: str, device: str = "", pushname: str = ""
    ) -> str:
        """Scan the QR text a page shows (or what page `device` shows); returns the device's id."""
        answer = await self._do("scan", number=number, code=code, device=device, pushname=pushname)
        return str(answer["device"])

    async def enter(self, code: str, *, number: str, pushname: str = "") -> str:
        """Type the eight letters that a page shows for this number; returns the device's id."""
        return str((await self._do("enter", number=number, code=code, pushname=pushname))["device"])

    async def incoming(
        self,
        number: str,
        sender: str,
        body: str,
        *,
        group: str = "",
        id: str = "",  # noqa: A002
        type: str = "chat",  # noqa: A002
        ts: int = 0,
        history: bool = False,
        content: bytes = b"",
        mime: str = "",
        filename: str = "",
    ) -> str:
        """Let `sender` write to the account; returns the message's bare id."""
        fields = {"group": group, "id": id, "type": type, "ts": ts, "history": history}
        if content:
            told = base64.b64encode(content).decode()
            fields |= {"content": told, "mime": mime, "filename": filename}
        return str(
            (await self._do("incoming", number=number, sender=sender, body=body, **fields))["id"]
        )

    async def messages(
        self,
        number: str,
        *,
        chat: str = "",
        direction: str = "",
        id: str = "",  # noqa: A002
        after: int = 0,
    ) -> list[Message]:
        """The account's messages in order of arrival."""
        rows = await self._ask(
            "messages", number=number, chat=chat, direction=direction, id=id, after=after
        )
        return [Message(**row) for row in rows]

    async def content(self, message: Message) -> bytes:
        """The file that a message carries."""
        path = message.carried["directPath"]
        async with self._http().get(f"{self.url}{path}", ssl=False) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def lose_media(self) -> None:
        """Let every file be gone: downloads fail."""
        await self._do("lose_media")

    async def sent(self, number: str) -> list[Message]:
        """What the account's devices sent, each once."""
        return await self.messages(number, direction="out")

    async def repeats(self, number: str) -> int:
        """How many times the account's devices sent a message the server already had."""
        return int((await self._ask("repeats", number=number))["total"])

    async def repeats_by_id(self, number: str) -> dict[str, int]:
        """The same for each message that was repeated."""
        return dict((await self._ask("repeats", number=number))["by_id"])

    async def devices(self, number: str = "") -> list[Device]:
        """The account's linked devices; without a number, all pages there are."""
        return [Device(**row) for row in await self._ask("devices", number=number)]

    async def device(self, device: str) -> Device | None:
        """One page by its id."""
        rows = await self._ask("devices", device=device)
        return Device(**rows[0]) if rows else None

    async def unlink(self, number: str, *, device: str = "") -> list[str]:
        """Remove a linked device, or all of the account; returns which."""
        return list((await self._do("unlink", number=number, device=device))["unlinked"])

    async def contact(
        self, number: str, *, name: str = "", registered: bool = True, lid_chat: bool = False
    ) -> Contact:
        """Say something particular about a number."""
        return Contact(
            **await self._do(
                "contact", number=number, name=name, registered=registered, lid_chat=lid_chat
            )
        )

    async def group(self, subject: str, members: Sequence[str], *, id: str = "") -> str:  # noqa: A002
        """Make a group of these numbers; returns its address."""
        return str((await self._do("group", subject=subject, members=list(members), id=id))["id"])

    async def config(
        self, *, number: str = "", device: str = "", **knobs: object
    ) -> dict[str, object]:
        """Turn knobs for all, one account or one device; returns all that hold."""
        return await self._do("config", number=number, device=device, **knobs)

    async def ack(self, number: str, id: str, ack: int) -> None:  # noqa: A002
        """Give one receipt for a message of the account."""
        await self._do("ack", number=number, id=id, ack=ack)

    async def release(self) -> None:
        """Let withheld acks go on, as the knobs now say."""
        await self._do("release")

    async def lose(self, number: str, count: int = 1) -> None:
        """Let the account's next sends vanish on their way."""
        await self._do("lose", number=number, count=count)

    async def state(
        self, state: str, *, mode: str = "", number: str = "", device: str = ""
    ) -> None:
        """Tell pages a Socket state, and a Stream mode."""
        await self._do("state", state=state, mode=mode, number=number, device=device)

    async def block(self, number: str, state: str = "TOS_BLOCK") -> None:
        """Block the account, now and at later logins; an empty state ends it."""
        await self._do("block", number=number, state=state)

    async def conflict(self, number: str = "", *, device: str = "") -> None:
        """Tell pages that another page took over."""
        await self._do("conflict", number=number, device=device)

    async def update(self, number: str = "", *, device: str = "") -> None:
        """Tell pages that a new version is out."""
        await self._do("update", number=number, device=device)

    async def drop(self, number: str = "", *, device: str = "") -> list[str]:
        """Close sockets, of all pages if none is named; returns which."""
        return list((await self._do("drop", number=number, device=device))["devices"])

    async def hang(self, number: str = "", *, device: str = "", ms: int = 0) -> None:
        """Let pages stop answering; 0 is for ever."""
        await self._do("hang", number=number, device=device, ms=ms)

    async def reset(self) -> None:
        """Forget everything."""
        await self._do("reset")

    async def wait_for_qr(self, *, other_than: Sequence[str] = (), timeout: float = 60) -> Device:
        """Wait until some page shows a QR code (with a reference not among these)."""

        async def shown() -> Device | None:
            return next(
                (d for d in await self.devices() if d.ref and d.ref not in other_than), None
            )

        return await self.until(shown, "a QR code", timeout)

    async def wait_until_ready(self, number: str, *, timeout: float = 60) -> Device:
        """Wait until a device of the account is linked, connected and ready."""

        async def ready() -> Device | None:
            return next((d for d in await self.devices(number) if d.ready), None)

        return await self.until(ready, f"{number} to be ready", timeout)

    async def wait_for_messages(
        self, number: str, count: int, *, direction: str = "out", timeout: float = 60
    ) -> list[Message]:
        """Wait until the account has so many messages of that direction."""

        async def there() -> list[Message] | None:
            found = await self.messages(number, direction=direction)
            return found if len(found) >= count else None

        return await self.until(there, f"{count} messages", timeout)

    async def wait_for_ack(self, number: str, id: str, ack: int, *, timeout: float = 60) -> Message:  # noqa: A002
        """Wait until a message of the account has at least that ack."""

        async def acknowledged() -> Message | None:
            found = await self.messages(number, id=id)
            return found[0] if found and found[0].ack >= ack else None

        return await self.until(acknowledged, f"ack {ack} of {id}", timeout)

    @staticmethod
    async def until(ask: Callable[[], Awaitable[T | None]], what: str, timeout: float) -> T:
        """Ask again and again until the answer is something; raises TimeoutError that says what."""
        deadline = time.monotonic() + timeout
        while True:
            answer = await ask()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout} s for {what}")
            await asyncio.sleep(0.03)

    async def _do(self, verb: str, **fields: object) -> Json:
        async with self._http().post(f"{self.url}/_sim/{verb}", json=fields, ssl=False) as answer:
            return await _checked(answer)

    async def _ask(self, question: str, **query: str | int) -> Json:
        async with self._http().get(
            f"{self.url}/_sim/{question}", params=_given(query), ssl=False
        ) as answer:
            return await _checked(answer)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=not self._keep)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _given(query: dict[str, str | int]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value not in ("", 0)}


async def _checked(answer: aiohttp.ClientResponse) -> Json:
    body = await answer.json()
    if answer.status >= 400:
        raise PhoneError(answer.status, body["error"])
    return body
