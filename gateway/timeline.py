"""A session's story: what it did until a moment, and why it stood as it did."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from events.clock import utc_now
from gateway.answers import Answer, answer, errors
from gateway.callers import needs
from gateway.moments import Moment
from gateway.named import There
from gateway.parts import Use
from gateway.problems import Problem
from gateway.wire import SessionDTO, Wire, instant, session_dto
from projections.read import view_of
from projections.timeline import Happening, Timeline, Unreadable

router = APIRouter(prefix="/api/sessions", tags=["sessions"])


class Told(Wire):
    """One event of the story. `status` is the session's after it, `text` a sentence about it.

    `causes` are ids of events that it came of; `command` is the id of the command.
    """

    id: str
    version: int
    position: int
    at: str
    type: str
    text: str
    status: str
    node: str | None
    causes: list[str]
    command: str | None


class TimelineAnswer(Answer):
    """A session as it was at a moment.

    `session` is null where there was none yet; the messages in its `metrics` are those that
    its owner had counted when it last said so. `why` says in sentences what it did then and
    what led there (times in UTC), `story` what happened, oldest first. `nextBefore` asks for
    the events before those.
    """

    session_id: str
    at: str
    session: SessionDTO | None
    why: list[str]
    story: list[Told]
    next_before: int | None = Field(description="A version; null: these are the first.")


At = Annotated[
    Moment | None,
    Query(description="The moment: a time with its zone, or milliseconds since 1970; unset: now."),
]


@router.get(
    "/{id}/timeline",
    summary="What a session did, and why it stands as it does",
    responses={200: {"model": TimelineAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def timeline(
    session: There,
    *,
    parts: Use,
    at: At = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    before: Annotated[int | None, Query(ge=1, description="A version to page on from.")] = None,
) -> Response:
    """Fold the session's log up to a moment, and tell it.

    The log itself is read, so this is right while the read models are behind or away.
    """
    moment: datetime = at or utc_now()
    folded = Timeline(limit, at, before)
    try:
        async with aclosing(parts.recall.transitions(session)) as events:
            async for stored in events:
                if not folded.take(stored):
                    break
    except Unreadable as error:
        raise Problem(503, "log_unreadable", f"{error}: run a newer one".capitalize()) from error
    view = view_of(session, folded.row, folded.row.session.totals)
    body = TimelineAnswer(
        session_id=session.joined,
        at=instant(moment),
        session=session_dto(view, moment) if view is not None else None,
        why=folded.why(moment),
        story=[_told(each) for each in folded.happenings],
        next_before=folded.happenings[0].version if folded.more else None,
    )
    return answer(body, headers={"Cache-Control": "no-store"})


def _told(each: Happening) -> Told:
    return Told(
        id=each.id,
        version=each.version,
        position=each.position,
        at=instant(each.at),
        type=each.kind,
        text=each.text,
        status=each.word,
        node=each.node,
        causes=list(each.causes),
        command=each.command,
    )
