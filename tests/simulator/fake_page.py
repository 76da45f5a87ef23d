"""A page without a browser: it speaks the page's frames, for fast tests of the server's rules."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

Frame = dict[str, object]


class FakePage:
    """One connection of one device. It keeps what it hears, and acknowledges nothing by itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, device: str) -> None:
        self._socket = socket
        self.device = device
        self.heard: list[Frame] = []
        self._sequence = 0

    async def hello(
        self,
        creds: object = None,
        *,
        unsettled: dict[str, int] | None = None,
        version: str = "2.3000.1",
    ) -> None:
        """Say who this is."""
        acks = [{"id": id_, "ack": ack} for id_, ack in (unsettled or {}).items()]
        info = {"name": "Fake", "os": "Test"}
        await self.say(
            {
                "t": "hello",
                "device": self.device,
                "creds": creds,
                "unsettled": acks,
                "version": version,
                "info": info,
            }
        )

    async def say(self, frame: Frame) -> None:
        """Send a frame."""
        await self._socket.send_str(json.dumps(frame))

    async def send(self, message: str, to: str, body: str = "x") -> int:
        """Send a message; returns the call's number, to which the answer is an `re` frame."""
        self._sequence += 1
        await self.say(
            {
                "t": "msg",
                "seq": self._sequence,
                "id": message,
                "to": to,
                "body": body,
                "type": "chat",
            }
        )
        return self._sequence

    async def hear(self, kind: str = "", *, re: int | None = None, timeout: float = 5) -> Frame:
        """Wait for a frame of that kind (or the answer to that call); keep those before it."""
        async with asyncio.timeout(timeout):
            while True:
                frame: Frame = json.loads(await self._socket.receive_str())
                self.heard.append(frame)
                if frame.get("re") == re if re is not None else frame.get("t") == kind:
                    return frame

    async def caught_up(self) -> list[Frame]:
        """Wait until the server has told all that was missed; returns the messages."""
        start = len(self.heard)
        await self.hear("offline-end")
        return [frame for frame in self.heard[start:] if frame.get("t") == "msg"]

    async def keep(self, *frames: Frame) -> None:
        """Acknowledge messages."""
        await self.say({"t": "recv", "seqs": [frame["seq"] for frame in frames]})

    async def close(self) -> None:
        await self._socket.close()


@asynccontextmanager
async def fake_page(url: str, device: str) -> AsyncIterator[FakePage]:
    """A connected page that has not said hello yet."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/ws/chat", ssl=False) as socket,
    ):
        yield FakePage(socket, device)
