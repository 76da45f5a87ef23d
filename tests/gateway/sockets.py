"""A WebSocket client for tests, on wsproto, that reads only when it is asked to."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, TextMessage
from wsproto.events import Request as Handshake

from tests.gateway.conftest import KEY, Running


class Rejected(Exception):
    """The handshake was answered with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Closed(Exception):
    """The server closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Socket:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._wire = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._text = ""
        self._frames: list[dict[str, Any]] = []

    async def frame(self, timeout: float = 30) -> dict[str, Any]:
        """Return the next frame; raises Rejected, Closed, TimeoutError."""
        async with asyncio.timeout(timeout):
            while not self._frames:
                await self._more()
        return self._frames.pop(0)

    async def frames(self, count: int, timeout: float = 30) -> list[dict[str, Any]]:
        return [await self.frame(timeout) for _ in range(count)]

    async def until(self, event: str, timeout: float = 30) -> dict[str, Any]:
        """Return the next frame of an event."""
        while True:
            frame = await self.frame(timeout)
            if frame["event"] == event:
                return frame

    async def quiet(self, seconds: float = 0.15) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            await self.frame(seconds)
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        self._writer.close()

    def cut(self) -> None:
        """Go without a word, as a network that breaks does."""
        self._writer.transport.abort()

    async def handshake(self, host: str, target: str, headers: list[tuple[bytes, bytes]]) -> None:
        request = Handshake(host=host, target=target, extra_headers=headers)
        self._writer.write(self._wire.send(request))
        async with asyncio.timeout(30):
            while not await self._more():
                pass

    def _read(self, text: str) -> Any:
        return json.loads(text)

    async def say(self, text: str) -> None:
        """Send a text."""
        self._writer.write(self._wire.send(TextMessage(text)))
        await self._writer.drain()

    async def _more(self) -> bool:
        data = await self._reader.read(65_536)
        self._wire.receive_data(data or None)
        opened = False
        for event in self._wire.events():
            match event:
                case AcceptConnection():
                    opened = True
                case RejectConnection():
                    raise Rejected(event.status_code)
                case TextMessage():
                    self._text += event.data
                    if event.message_finished:
                        self._frames.append(self._read(self._text))
                        self._text = ""
                case Ping():
                    self._writer.write(self._wire.send(event.response()))
                case CloseConnection():
                    raise Closed(event.code, event.reason or "")
                case _:
                    pass
        return opened


async def connect(
    running: Running, headers: dict[str, str] | None = None, path: str = "/ws", **query: object
) -> Socket:
    """Open a WebSocket with a query; the key goes in a header unless `headers` are given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    socket = Socket(reader, writer)
    given = {"x-api-key": KEY} if headers is None else headers
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    target = f"{path}?{urlencode({k: str(v) for k, v in query.items()})}"
    await socket.handshake(f"127.0.0.1:{running.port}", target, raw)
    return socket
