"""All messages that a session's history holds: searched, and exported."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response, StreamingResponse

from events.subjects import SessionId
from gateway.answers import HistoryAnswer, answer, errors
from gateway.callers import Caller, Who, needs
from gateway.ids import SessionKey
from gateway.message_answers import MessageDTO, message_dto
from gateway.parts import Parts, Use

router = APIRouter(prefix="/api/sessions/{id}/messages", tags=["messages"])

OfPath = Annotated[SessionKey, Path(alias="id")]
PAGE = 200
"""Messages that are read from the read models at once."""

_FORMS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_EXPORTED: dict[str, Any] = {
    "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"body": "Hello"}\n'},
    "text/csv": {"schema": {"type": "string"}, "example": "messageId,body\r\n3EB0A1,Hello\r\n"},
}


@router.get(
    "/search",
    summary="Messages that hold a text, newest first",
    responses={200: {"model": HistoryAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def search(
    session_id: OfPath,
    q: Annotated[str, Query(min_length=1, max_length=200, description="Whatever its case.")],
    *,
    parts: Use,
    caller: Who,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
    before: Annotated[int | None, Query(ge=1, description="A position to page on from.")] = None,
) -> Response:
    """Look for a text in what was said, in captions and in names of files."""
    found: list[MessageDTO] = []
    wanted = q.casefold()
    joined, messages = await _all(parts, caller, session_id, before)
    for message in messages:
        if wanted in f"{message.body}\n{message.filename or ''}".casefold():
            found.append(message)
        if len(found) == limit:
            break
    body = HistoryAnswer(
        session_id=joined,
        messages=found,
        total=len(found),
        next_before=found[-1].position if len(found) == limit else None,
    )
    return answer(body, headers={"Cache-Control": "no-store"})


@router.get(
    "/export",
    summary="All messages of the history, oldest first",
    response_class=Response,
    responses={200: {"content": _EXPORTED}} | errors(400, 404, 503),
)
@needs("read")
async def export(
    session_id: OfPath,
    parts: Use,
    caller: Who,
    form: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl",
) -> Response:
    """Give every message once, in order, as JSON Lines or as CSV.

    The history holds a session's newest 1,000 messages of the last `MESSAGE_DAYS`.
    """
    # Read as a whole before the first byte goes out: later, an error could not be told.
    joined, messages = await _all(parts, caller, session_id, None)
    messages.reverse()
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{joined}.{form}"',
    }
    lines = _json_lines(messages) if form == "jsonl" else _csv(messages)
    return StreamingResponse(lines, headers=headers, media_type=_FORMS[form])


async def _all(
    parts: Parts, caller: Caller, session_id: str, before: int | None
) -> tuple[str, list[MessageDTO]]:
    """Read the history, newest first; raises Problem 404 and ReadModelsAway."""
    view = await parts.directory.by_id(session_id, caller)
    days = parts.settings.media_days
    found: list[MessageDTO] = []
    while True:
        page = await parts.reads.history(SessionId(view.user, view.bot), PAGE, before)
        found += [message_dto(message, view.session, days) for message in page]
        if len(page) < PAGE:
            return view.session, found
        before = page[-1].position


def _json_lines(messages: Sequence[MessageDTO]) -> Iterator[str]:
    for message in messages:
        yield message.model_dump_json(by_alias=True) + "\n"


def _csv(messages: Sequence[MessageDTO]) -> Iterator[str]:
    names = [
        field.serialization_alias or field.alias or name
        for name, field in MessageDTO.model_fields.items()
    ]
    yield _row(names)
    for message in messages:
        told = message.model_dump(by_alias=True)
        yield _row([_cell(told[name]) for name in names])


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
