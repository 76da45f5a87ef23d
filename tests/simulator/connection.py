"""One page's socket: what the page says becomes calls on the switchboard."""

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from tests.simulator.frames import Frame

if TYPE_CHECKING:
    from tests.simulator.switchboard import Switchboard


class Connection:
    """A page that is connected, from its `hello` until its socket closes."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._outgoing: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.device = ""  # the page's own id, known after its hello
        self.info: dict[str, str] = {}
        self.ready = False
        self.answers: dict[str, int] = {}  # message id -> the call that waits for its first ack
        self.presence: dict[str, str] = {}  # what the page said about itself, by chat

    def push(self, frame: Frame) -> None:
        """Send a frame, after those before it; never waits."""
        self._outgoing.put_nowait(frame)

    def close(self) -> None:
        """Close once everything pushed so far is out."""
        self._outgoing.put_nowait(None)

    async def run(self, switchboard: "Switchboard") -> None:
        """Serve the page until it goes."""
        sending = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(json.loads(message.data), switchboard)
        finally:
            sending.cancel()
            switchboard.gone(self)

    async def _send(self) -> None:
        while (frame := await self._outgoing.get()) is not None:
            if self._socket.closed:
                return
            try:
                await self._socket.send_str(json.dumps(frame))
            except ConnectionError:
                return  # the page went; its own end of the socket tells
        await self._socket.close()

    def _receive(self, frame: Frame, switchboard: "Switchboard") -> None:
        match frame:
            case {
                "t": "hello",
                "device": str(device),
                "creds": creds,
                "unsettled": list(unsettled),
                "version": str(version),
                "info": dict(info),
            }:
                self.device = device
                self.info = {str(name): str(value) for name, value in info.items()}
                token = str(creds["token"]) if isinstance(creds, dict) else None
                acks = {str(entry["id"]): int(entry["ack"]) for entry in unsettled}
                switchboard.hello(self, token=token, version=version, acks=acks)
            case {"t": "new-ref"}:
                switchboard.pairing.show(self.device)
            case {"t": "link-code", "seq": seq, "phone": str(phone)}:
                self.push({"re": seq, "code": switchboard.pairing.typed_code(self.device, phone)})
            case {"t": "ready"}:
                self.ready = True
            case {
                "t": "msg",
                "seq": int(seq),
                "id": str(id_),
                "to": str(to),
                "body": str(body),
                "type": str(kind),
            }:
                more = frame.get("more", {})
                switchboard.send(self, seq, id_, to, body, kind, json.dumps(more))
            case {"t": "react", "seq": int(seq), "id": str(id_), "emoji": str(emoji)}:
                switchboard.react(self, seq, id_, emoji)
            case {"t": "revoke", "seq": int(seq), "id": str(id_)}:
                switchboard.revoke(self, seq, id_)
            case {"t": "recv", "seqs": list(seqs)}:
                switchboard.received(self.device, [int(seq) for seq in seqs])
            case {"t": "seen", "ids": list(ids)}:
                switchboard.seen(self.device, [str(id_) for id_ in ids])
            case {"t": "presence", "chat": str(chat), "state": str(state)}:
                self.presence[chat] = state
            case {"t": "exists", "seq": seq, "wid": str(wid)}:
                self.push({"re": seq, **switchboard.exists(wid)})
            case {"t": "group", "seq": seq, "id": str(group)}:
                self.push({"re": seq, **switchboard.group(group)})
            case {"t": "logout", "seq": seq}:
                switchboard.forget(self.device)
                self.push({"re": seq})
            case _:
                raise ValueError(f"the page sent a frame nobody knows: {frame}")
