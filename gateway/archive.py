"""All messages of a session that the log holds: searched, and exported."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from io import StringIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from gateway.answers import SearchAnswer, answer, errors
from gateway.callers import needs
from gateway.message_answers import MessageDTO, message_dto
from gateway.named import There
from gateway.parts import Use
from projections.views import MessageView

router = APIRouter(prefix="/api/sessions/{id}/messages", tags=["messages"])

PATIENCE = 5.0
"""Seconds after which a search says how far it came."""

_FORMS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_EXPORTED: dict[str, Any] = {
    "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"body": "Hello"}\n'},
    "text/csv": {"schema": {"type": "string"}, "example": "messageId,body\r\n3EB0A1,Hello\r\n"},
}


@router.get(
    "/search",
    summary="Messages that hold a text, newest first",
    responses={200: {"model": SearchAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def search(
    session: There,
    q: Annotated[str, Query(min_length=1, max_length=200, description="Whatever its case.")],
    *,
    parts: Use,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
    before: Annotated[int | None, Query(ge=1, description="A position to page on from.")] = None,
) -> Response:
    """Look for a text in what was said, in captions and in names of files.

    All that the log holds is searched, for up to 5 s.
    """
    wanted, until = q.casefold(), time.monotonic() + PATIENCE
    found: list[MessageView] = []
    reached: int | None = None
    async with aclosing(parts.recall.backward(session, before)) as stretches:
        async for stretch in stretches:
            found += [view for view in stretch.messages if wanted in _words(view)]
            reached = None if stretch.last else stretch.reached
            if len(found) >= limit or time.monotonic() > until:
                break
    if len(found) >= limit:
        found = found[:limit]
        reached = found[-1].position
    days = parts.settings.media_days
    body = SearchAnswer(
        session_id=session.joined,
        messages=[message_dto(view, session.joined, days) for view in found],
        total=len(found),
        next_before=reached,
        complete=reached is None,
    )
    return answer(body, headers={"Cache-Control": "no-store"})


def _words(view: MessageView) -> str:
    name = view.media.name if view.media is not None else None
    return f"{view.body}\n{name or ''}".casefold()


@router.get(
    "/export",
    summary="All messages of a session, oldest first",
    response_class=Response,
    responses={200: {"content": _EXPORTED}} | errors(400, 404, 503),
)
@needs("read")
async def export(
    session: There,
    parts: Use,
    form: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl",
) -> Response:
    """Give every message of the last `MESSAGE_DAYS` once, in order, as JSON Lines or as CSV.

    An export that breaks off has no end: a client takes it for a broken connection.
    """
    write = _json_line if form == "jsonl" else _csv_line
    pages = parts.recall.forward(session)
    # The first part before the answer begins: so long an error can be told.
    first = await anext(pages)
    days = parts.settings.media_days

    async def lines() -> AsyncGenerator[str]:
        async with aclosing(pages):
            yield _HEAD if form == "csv" else ""
            yield "".join(write(message_dto(view, session.joined, days)) for view in first)
            async for page in pages:
                yield "".join(write(message_dto(view, session.joined, days)) for view in page)

    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{session.joined}.{form}"',
    }
    return StreamingResponse(lines(), headers=headers, media_type=_FORMS[form])


def _json_line(message: MessageDTO) -> str:
    return message.model_dump_json(by_alias=True) + "\n"


def _csv_line(message: MessageDTO) -> str:
    told = message.model_dump(by_alias=True)
    return _row([_cell(told[name]) for name in _NAMES])


def _row(cells: Sequence[str]) -> str:
    written = StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str() if value.startswith(_FORMULA):
            # A stranger wrote it, and a spreadsheet would run it.
            return f"'{value}"
        case str():
            return value
        case _:
            return json.dumps(value)


_NAMES = [
    field.serialization_alias or field.alias or name
    for name, field in MessageDTO.model_fields.items()
]
_HEAD = _row(_NAMES)
