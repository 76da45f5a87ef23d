"""The plain WebSocket: `/ws?session=<id|*>&events=<name,…|*>&since=<position>`."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

import structlog
from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.auth import Caller
from gateway.broker import BrokerAway
from gateway.feed import View
from gateway.ids import JOINED_RULE, is_joined
from gateway.line import TooSlow, Watch
from gateway.parts import parts_of
from gateway.problems import Problem, broker_away, read_models_away
from gateway.tasks import end
from projections.read import ReadModelsAway

log = structlog.get_logger()
router = APIRouter()

PATIENCE = 20.0
"""Seconds that one frame may take to leave."""

FAREWELL = 1.0
TRY_AGAIN = 1013

_NAMES = re.compile(r"[a-z]+(-[a-z]+)*")


@router.websocket("/ws")
async def door(socket: WebSocket) -> None:
    """Give each frame as one JSON text; what the client says is not read."""
    parts = parts_of(socket)
    caller: Caller = socket.scope["state"]["caller"]
    try:
        watch, since = read_query(socket.query_params, caller)
        view = await parts.feed.open(watch, since)
    except Problem as problem:
        await socket.send_denial_response(problem.response())
        return
    except BrokerAway:
        await socket.send_denial_response(broker_away().response())
        return
    except ReadModelsAway:
        await socket.send_denial_response(read_models_away().response())
        return
    try:
        await socket.accept()
        await _serve(socket, view, watch)
    except WebSocketDisconnect:
        pass
    finally:
        view.close()


def read_query(query: QueryParams, caller: Caller) -> tuple[Watch, int | None]:
    """Read what a client wants to see; raises Problem 400."""
    session = query.get("session") or "*"
    if session != "*" and not is_joined(session):
        raise Problem(400, "bad_input", f"session {JOINED_RULE}, or *.")
    names = [name for name in (query.get("events") or "*").split(",") if name]
    if any(name != "*" and not _NAMES.fullmatch(name) for name in names):
        raise Problem(400, "bad_input", "events must be names of events with commas, or *.")
    since = query.get("since") or None
    if since is not None and not (since.isascii() and since.isdigit() and len(since) < 19):
        raise Problem(400, "bad_input", "since must be a position: a whole number.")
    watch = Watch(
        session=None if session == "*" else session,
        # A gap concerns whoever comes back, whatever they asked for.
        names=None if "*" in names else frozenset(names) | {"gap"},
        user=caller.user,
    )
    return watch, None if since is None else int(since)


async def _serve(socket: WebSocket, view: View, watch: Watch) -> None:
    sending = asyncio.create_task(_send(socket, view, watch))
    hearing = asyncio.create_task(_hear(socket))
    try:
        await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended, _ = await end(sending, hearing)
    match ended:
        case TooSlow() | TimeoutError():
            log.info("websocket.too_slow", session=watch.session)
            view.dropped()
            await _close(socket, f"too slow; come back with since={view.position}")
        case BrokerAway():
            await _close(socket, f"the log is away; come back with since={view.position}")
        case WebSocketDisconnect() | None:
            pass
        case error:
            raise error


async def _send(socket: WebSocket, view: View, watch: Watch) -> None:
    async with aclosing(view.frames()) as frames:
        async for frame in frames:
            text = frame.under(watch.names)
            if text is not None:
                async with asyncio.timeout(PATIENCE):
                    await socket.send_text(text)


async def _hear(socket: WebSocket) -> None:
    """Read and forget until the client goes."""
    while socket.client_state is WebSocketState.CONNECTED:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return


async def _close(socket: WebSocket, reason: str) -> None:
    # To someone who does not read, nothing can be said any more.
    try:
        async with asyncio.timeout(FAREWELL):
            await socket.close(TRY_AGAIN, reason)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):
        pass
