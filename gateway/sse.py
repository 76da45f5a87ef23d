"""Server-sent events: `GET /api/events`, which a browser's EventSource resumes by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import watch
from gateway.answers import errors
from gateway.callers import Caller, Who, needs
from gateway.feed import View
from gateway.frames import Frame
from gateway.keyring import Keyring
from gateway.parts import Use
from gateway.reader import FAREWELL, hand_over
from gateway.tasks import end

router = APIRouter(tags=["live events"])

BEAT = 15.0
"""Seconds between comments, so that no proxy takes a quiet stream for a dead one."""

RETRY = 2_000
"""Milliseconds after which a browser comes back."""

HEADERS = {
    # A stream that a proxy keeps back or compresses is no stream.
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


STREAM: dict[str, Any] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}


def _asked(name: str, about: str, example: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "query", "description": about, "schema": schema, "example": example}


ASKED = [
    _asked("session", "A session's id, or * for all.", "user-1-bot-1"),
    _asked("events", "Names of events with commas, or * for all.", "message-received"),
    _asked("since", "The position of the last event that was seen.", "1042"),
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The same as `since`, which it overrides: browsers send it themselves.",
        "schema": {"type": "string"},
    },
]


@router.get(
    "/api/events",
    summary="Live events as a stream",
    response_class=Response,
    responses={200: STREAM} | errors(400, 503),
    openapi_extra={"parameters": ASKED},
)
@needs("read")
async def door(request: Request, parts: Use, caller: Who) -> Response:
    """Give each frame as one event: its name, its JSON, and its position as the id."""
    wanted, since = watch.from_query(request.query_params, caller)
    # After a reconnect the address still says where the client began, the
    # header where it was.
    last = watch.position("Last-Event-ID", request.headers.get("last-event-id"))
    view = await parts.feed.open(wanted, since if last is None else last)
    return Stream(view, parts.keyring, caller)


class Stream(Response):
    """A view that is being read."""

    media_type = "text/event-stream"

    def __init__(self, view: View, keyring: Keyring, caller: Caller) -> None:
        super().__init__(headers=HEADERS)
        # There is no length: it ends when the reader does.
        del self.headers["content-length"]
        self._view = view
        self._keyring, self._caller = keyring, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(text: str) -> None:
            body = text.encode("utf-8", "replace")
            await send({"type": "http.response.body", "body": body, "more_body": True})

        async def write(name: str, text: str, frame: Frame) -> None:
            # What has no position (a code, the state as it is) leaves the last id as it was.
            place = "" if frame.position is None else f"id: {frame.position}\n"
            await say(f"{place}event: {name}\ndata: {text}\n\n")

        async def beat() -> None:
            while True:
                await asyncio.sleep(BEAT)
                await say(": still here\n\n")

        view, start = self._view, {"status": self.status_code, "headers": self.raw_headers}
        beating: asyncio.Task[None] | None = None
        try:
            await send({"type": "http.response.start", **start})
            # An id without data is no event; a browser that is cut before its first one
            # still comes back with where it began.
            await say(f"retry: {RETRY}\nid: {view.position}\n\n")
            beating = asyncio.create_task(beat())
            lost = self._keyring.lost(self._caller)
            why = await hand_over(view, write, gone=_gone(receive), lost=lost, door="sse")
            if why is not None:
                async with asyncio.timeout(FAREWELL):
                    told = why.frame(view.watch.session or "*")
                    face = told.under(None)
                    if face is not None:
                        await write(*face, told)
                    await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            pass
        finally:
            view.close()
            if beating is not None:
                await end(beating)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
