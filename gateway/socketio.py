"""Socket.IO at `/socket.io/`, by WebSocket and by polling.

Rooms are not the library's but the feed's: each connection has one line, on which
it joins sessions, so what waits for a slow client is bounded as at every door. A
process tells its own clients only; several need no broker between them, since each
reads the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from events.traces import where
from gateway.answers import now
from gateway.auth import key_of
from gateway.broker import BrokerAway
from gateway.callers import Caller
from gateway.feed import Feed
from gateway.frames import Frame
from gateway.keyring import Keyring
from gateway.line import Line
from gateway.packets import TextPacket
from gateway.problems import Problem, broker_away, read_models_away
from gateway.reader import PATIENCE, dismissed, first
from gateway.rooms import room
from gateway.server import LARGEST_FRAME
from gateway.tasks import end
from gateway.wire import Json
from projections.read import ReadModelsAway

log = structlog.get_logger()

SESSIONS = 100
"""Sessions that one connection may watch."""

AHEAD = 64
"""Packets that may stand in the library's queue, which knows no bounds, before we wait."""

FLOOD = 1_000
"""Packets in that queue from which on a client is dropped: it asks and does not read."""

NEXT_POLL = 2.0
"""Seconds that a client which polls gets to hear why it is cut; it is told nothing else then."""

NAMELESS = 10
"""Seconds that a connection may go without showing a key."""


@dataclass(slots=True)
class _Client:
    """One connection that has shown its key."""

    connection: str
    caller: Caller
    line: Line
    sessions: set[str] = field(default_factory=set[str])
    sending: asyncio.Task[None] | None = None


class SocketIO:
    """The door, as an ASGI application."""

    def __init__(self, feed: Feed, keyring: Keyring) -> None:
        self._feed = feed
        self._keyring = keyring
        self._clients: dict[str, _Client] = {}
        quiet: Any = logging.getLogger("gateway.socketio")
        # At its level for information the library logs payloads, codes and keys among them.
        quiet.setLevel(logging.ERROR)
        self._server: Any = socketio.AsyncServer(
            async_mode="asgi",
            serializer=TextPacket,
            logger=quiet,
            engineio_logger=quiet,
            # One event after the other: a client that asks for much waits for itself.
            async_handlers=False,
            # Origins and CORS are looked after in front of all doors.
            cors_allowed_origins=[],
            max_http_buffer_size=LARGEST_FRAME,
            http_compression=False,
        )
        self._engine: Any = self._server.eio
        self._heard: Callable[[str, object], Awaitable[None]] = self._engine.handlers["message"]
        self._engine.on("message", self._checked)
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._server.on("*", self._event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._server.handle_request(scope, receive, send)

    async def sweep(self) -> None:
        """Drop those without a key, and those that ask and do not read, for ever."""
        seconds = Counter[str]()
        while True:
            await asyncio.sleep(1)
            named = {client.connection for client in self._clients.values()}
            held: dict[str, Any] = dict(self._engine.sockets)
            seconds = Counter({sid: seconds[sid] + 1 for sid in held if sid not in named})
            for connection, socket in held.items():
                if seconds[connection] > NAMELESS or socket.queue.qsize() > FLOOD:
                    await self._drop(connection)

    # --- what a client does -------------------------------------------------------

    async def _checked(self, connection: str, packet: object) -> None:
        """Hear a packet. One that cannot be read ends its connection, and nothing else."""
        try:
            await self._heard(connection, packet)
        except Exception as error:  # noqa: BLE001 - the edge: anything may be in a packet
            log.info("socketio.bad_packet", at=where(error))
            await self._drop(connection)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        connection: str = self._server.manager.eio_sid_from_sid(sid, "/")
        scope: Scope = environ["asgi.scope"]
        try:
            caller = await self._caller(scope, auth)
        except Problem as problem:
            if problem.status_code == 503:
                # A client that is refused gives up; one that is cut comes back.
                await self._drop(connection)
            raise Refused(problem.detail, problem.body()) from None
        client = _Client(connection, caller, self._feed.line())
        self._clients[sid] = client
        client.sending = asyncio.create_task(self._serve(sid, client))

    async def _caller(self, scope: Scope, auth: object) -> Caller:
        token = auth.get("token") if isinstance(auth, dict) else None  # pyright: ignore
        shown = Headers(scope=scope).get("x-api-key", "").strip()
        key = shown or (token if isinstance(token, str) else "") or key_of(scope)
        if not key:
            raise Problem(401, "no_key", "An API key is needed: send it as auth.token.")
        caller = await self._keyring.caller(key)
        caller.require("read")
        return caller

    async def _disconnect(self, sid: str, _: str = "") -> None:
        client = self._clients.pop(sid, None)
        if client is None:
            return
        for session in client.sessions:
            self._feed.leave(client.line, session)
        if client.sending is not None and client.sending is not asyncio.current_task():
            await end(client.sending)

    async def _event(self, event: str, sid: str, *given: object) -> Json:
        """Do what a client asks; the answer is its acknowledgement."""
        asked = given[0] if given else None
        try:
            return await self._do(sid, event, asked)
        except Problem as error:
            problem = error
        except BrokerAway:
            problem = broker_away()
        except ReadModelsAway:
            problem = read_models_away()
        told = {"sessionId": asked if isinstance(asked, str) else None, "event": event[:64]}
        failed = told | {"error": problem.detail, "reason": problem.reason, "timestamp": now()}
        await self._server.emit("session-error", failed, to=sid)
        client = self._clients.get(sid)
        if problem.status_code == 503 and client is not None:
            # It would never hear of the session; cut, it comes back and asks again.
            await self._drop(client.connection)
        return problem.body()

    async def _do(self, sid: str, event: str, asked: object) -> Json:
        client = self._clients[sid]
        wanted = room(event, asked)
        if wanted is None:
            raise Problem(400, "unknown_event", "There is no such event.")
        if event == "unsubscribe:session":
            client.sessions.discard(wanted.session)
            self._feed.leave(client.line, wanted.session)
            return {"success": True, "sessionId": wanted.session}
        if len(client.sessions | {wanted.session}) > SESSIONS:
            detail = f"A connection may watch {SESSIONS} sessions; open another one."
            raise Problem(429, "too_many_sessions", detail)
        if client.caller.user is not None and wanted.user not in {None, client.caller.user}:
            detail = "This key belongs to another user than the one named."
            raise Problem(403, "not_yours", detail)
        user = wanted.user or client.caller.user
        await self._feed.join(client.line, wanted.session, user)
        client.sessions.add(wanted.session)
        if sid not in self._clients:
            # Cut meanwhile: nobody else would take the line out again.
            self._feed.leave(client.line, wanted.session)
        return {"success": True, "sessionId": wanted.session}

    # --- what a client is told ----------------------------------------------------

    async def _serve(self, sid: str, client: _Client) -> None:
        try:
            why = dismissed(await first(self._send(sid, client), self._keyring.lost(client.caller)))
            if why is not None:
                log.info("reader.dismissed", door="socket.io", reason=why.reason)
                self._feed.dropped += why.reason == "too_slow"
                await self._tell(sid, why.frame("*"))
                await self._fetched(client.connection)
        except Exception as error:  # noqa: BLE001 - else the client would wait for ever
            log.error("socketio.failed", at=where(error))  # noqa: TRY400 - a trace would quote its text
        await self._drop(client.connection)

    async def _send(self, sid: str, client: _Client) -> None:
        while True:
            frame = await client.line.next()
            await self._tell(sid, frame)
            socket = self._engine.sockets.get(client.connection)
            if socket is not None and socket.queue.qsize() > AHEAD:
                async with asyncio.timeout(PATIENCE):
                    await socket.queue.join()

    async def _tell(self, sid: str, frame: Frame) -> None:
        for name, payload in frame.faces:
            await self._server.emit(name, payload, to=sid)

    async def _fetched(self, connection: str) -> None:
        """Let a client that is between two polls fetch what was told last."""
        socket = self._engine.sockets.get(connection)
        if socket is not None and not socket.upgraded:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NEXT_POLL):
                    await socket.queue.join()

    async def _drop(self, connection: str) -> None:
        """Cut a connection. Not a Socket.IO disconnect: after that clients do not come back."""
        socket = self._engine.sockets.get(connection)
        if socket is None:
            return
        # By polling a client learns that it is cut from Engine.IO's own word for it. On
        # a WebSocket nobody heeds that; None ends the writer, which closes the socket.
        await socket.close(wait=False, abort=socket.upgraded)
        socket.queue.put_nowait(None)
