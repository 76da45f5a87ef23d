"""The plain WebSocket: `/ws?session=<id|*>&events=<name,…|*>&since=<position>`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import assert_never

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway import watch
from gateway.broker import BrokerAway
from gateway.callers import caller_of, needs
from gateway.feed import View
from gateway.frames import Frame
from gateway.parts import parts_of
from gateway.problems import Problem, broker_away, read_models_away
from gateway.reader import FAREWELL, Dismissed, hand_over
from projections.read import ReadModelsAway

router = APIRouter()

TRY_AGAIN = 1013
RESTART = 1012
POLICY = 1008


@router.websocket("/ws")
@needs("read")
async def door(socket: WebSocket) -> None:
    """Give each frame as one JSON text; what the client says is not read."""
    parts = parts_of(socket)
    caller = caller_of(socket)
    try:
        view = await parts.feed.open(*watch.from_query(socket.query_params, caller))
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
        await _serve(socket, view, parts.keyring.lost(caller))
    except WebSocketDisconnect:
        pass
    finally:
        view.close()


async def _serve(socket: WebSocket, view: View, lost: Coroutine[None, None, None]) -> None:
    async def write(_: str, text: str, __: Frame) -> None:
        await socket.send_text(text)

    why = await hand_over(view, write, gone=_gone(socket), lost=lost, door="websocket")
    if why is not None:
        await _close(socket, why)


async def _gone(socket: WebSocket) -> None:
    """Read and forget until the client goes."""
    while socket.client_state is WebSocketState.CONNECTED:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return


def _code(why: Dismissed) -> int:
    match why.reason:
        case "restart":
            return RESTART
        case "key_revoked" | "key_expired":
            return POLICY
        case "too_slow" | "broker_away":
            return TRY_AGAIN
        case _:
            assert_never(why.reason)


async def _close(socket: WebSocket, why: Dismissed) -> None:
    try:
        async with asyncio.timeout(FAREWELL):
            await socket.close(_code(why), why.detail)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):
        pass
