"""Routes that create sessions and show them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BeforeValidator
from starlette.responses import JSONResponse, Response

from events.clock import utc_now
from events.subjects import SessionId
from gateway.answers import (
    NO_STATUS,
    PLACED,
    SECRET,
    CreateAnswer,
    Pagination,
    SessionAnswer,
    SessionsAnswer,
    StatusAnswer,
    answer,
    errors,
    now,
    placed,
)
from gateway.budget import Spend
from gateway.callers import Who, needs
from gateway.codes import Linked
from gateway.ids import Id, given
from gateway.named import OfPath, There
from gateway.parts import Parts, Use
from gateway.pictures import data_url
from gateway.problems import Problem
from gateway.statistics import statistics
from gateway.wire import CreateBody, Pair, SessionDTO, instant, session_dto
from projections.views import QrView, SessionView

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

UserOfPath = Annotated[Id, Path(alias="userId")]
BotOfPath = Annotated[Id, Path(alias="plubotId")]
Word = Literal[
    "initializing",
    "waiting_qr",
    "authenticated",
    "ready",
    "disconnected",
    "reconnecting",
    "suspended",
    "auth_failed",
    "logged_out",
    "stopped",
    "not_found",
]
# `?status=&userId=` asks for every state of everybody.
OfWord = Annotated[
    Word | None, BeforeValidator(given, json_schema_input_type=Word | Literal[""] | None)
]
OfUser = Annotated[
    Id | None, BeforeValidator(given, json_schema_input_type=Id | Literal[""] | None)
]
_PAIR = {"userId": "user-1", "plubotId": "bot-1"}


@router.post(
    "/create",
    summary="Create a session and start it",
    responses={200: {"model": CreateAnswer} | PLACED, 202: {"model": CreateAnswer} | PLACED}
    | errors(400, 409, 413, 429, 503),
)
@needs("manage")
async def create(
    body: Annotated[CreateBody, Body(examples=[_PAIR, _PAIR | {"forceNew": True}])],
    parts: Use,
    caller: Who,
    spend: Spend,
) -> Response:
    """Answer at once, with the QR code if there is one already.

    The same call again is no error and makes no second browser; a session at
    rest is started. `forceNew` drops the link and starts over.
    """
    session = caller.own(SessionId(body.user_id, body.plubot_id))
    await spend.take("sessions", session.user)
    created = await parts.lifecycle.create(session, fresh=bool(body.force_new))
    qr = await parts.codes.current(created.view)
    return await _created(created.view, qr, 200 if created.settled else 202)


@router.post(
    "/initialize",
    summary="The same as create",
    responses={200: {"model": CreateAnswer} | PLACED, 202: {"model": CreateAnswer} | PLACED}
    | errors(400, 409, 413, 429, 503),
)
@needs("manage")
async def initialize(
    body: Annotated[Pair, Body(examples=[_PAIR])], parts: Use, caller: Who, spend: Spend
) -> Response:
    """See create."""
    pair = CreateBody(user_id=body.user_id, plubot_id=body.plubot_id)
    return await create(pair, parts, caller, spend)


@router.post(
    "/refresh-qr",
    summary="Have WhatsApp show a new QR code",
    responses={200: {"model": CreateAnswer} | PLACED} | errors(400, 408, 409, 413, 429, 503),
)
@needs("manage")
async def refresh_pair(
    body: Annotated[Pair, Body(examples=[_PAIR])], parts: Use, caller: Who, spend: Spend
) -> Response:
    """Wait up to 30 s for the new code; starts the session if there is none."""
    session = caller.own(SessionId(body.user_id, body.plubot_id))
    await spend.take("qr", session.user)
    if await parts.directory.view(session) is None:
        return await _refreshed(parts, session, await parts.codes.get(session))
    return await _refreshed(parts, session, await parts.codes.refresh(session))


@router.get(
    "",
    summary="List sessions",
    responses={200: {"model": SessionsAnswer}} | errors(400, 503),
)
@needs("read")
async def listing(
    *,
    parts: Use,
    caller: Who,
    status: Annotated[OfWord, Query()] = None,
    user_id: Annotated[OfUser, Query(alias="userId")] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
) -> Response:
    """List all sessions, or those of one user or in one state, oldest first."""
    found = [
        v for v in await parts.directory.every(caller.whose(user_id)) if status in {None, v.word}
    ]
    here = found[(page - 1) * limit : page * limit]
    pages = max(1, -(-len(found) // limit))
    body = SessionsAnswer(
        sessions=list(await asyncio.gather(*(_dto(parts, view) for view in here))),
        total=len(found),
        pagination=Pagination(
            page=page, limit=limit, total=len(found), pages=pages, has_more=page < pages
        ),
    )
    return answer(body, headers=SECRET)


@router.get("/stats", summary="Statistics of the pool", responses=errors(503))
@needs("read")
async def stats(parts: Use, caller: Who) -> Response:
    """Count sessions, by state and by user, and what they did. `averageUptime` in seconds."""
    views = await parts.directory.every(caller.user)
    nodes = [] if caller.user else await parts.reads.nodes()
    numbers = statistics(views, nodes, parts.settings)
    limits = {} if caller.user else {"rateLimits": parts.quotas.statistics()}
    return JSONResponse({"success": True, "timestamp": now()} | numbers | limits)


@router.get(
    "/{id}",
    summary="Show a session",
    responses={200: {"model": SessionAnswer} | PLACED} | errors(400, 404, 503),
)
@needs("read")
async def show(session_id: OfPath, parts: Use, caller: Who) -> Response:
    """Show a session by its id."""
    return await _shown(parts, await parts.directory.by_id(session_id, caller))


@router.get(
    "/{id}/status",
    summary="The short form",
    responses={200: {"model": StatusAnswer}} | errors(400, 503) | NO_STATUS,
)
@needs("read")
async def status(session_id: OfPath, parts: Use, caller: Who) -> Response:
    """Tell whether a session exists, is linked and is ready."""
    try:
        view = await parts.directory.by_id(session_id, caller)
    except Problem as problem:
        if problem.status_code == 404:
            body = problem.body() | {"exists": False, "status": "not_found"}
            return JSONResponse(body, 404, media_type="application/problem+json")
        raise
    dto = session_dto(view, utc_now())
    return answer(
        StatusAnswer(
            session_id=view.session,
            status=dto.status,
            state=dto.state,
            phone_number=dto.phone_number,
            last_activity=instant(view.last_activity),
            is_ready=dto.is_ready,
            is_authenticated=dto.is_authenticated,
            needs_reconnection=dto.needs_reconnection,
        )
    )


@router.get(
    "/{userId}/{plubotId}",
    summary="Show a session by its two halves",
    responses={200: {"model": SessionAnswer} | PLACED} | errors(400, 404, 409, 503),
)
@needs("read")
async def show_pair(user_id: UserOfPath, plubot_id: BotOfPath, parts: Use, caller: Who) -> Response:
    """Show a session by user and bot."""
    return await _shown(
        parts, await parts.directory.existing(caller.own(SessionId(user_id, plubot_id)))
    )


@router.post(
    "/{id}/refresh-qr",
    summary="Have WhatsApp show a new QR code",
    responses={200: {"model": CreateAnswer} | PLACED} | errors(400, 404, 408, 409, 429, 503),
)
@needs("manage")
async def refresh(session: There, parts: Use, spend: Spend) -> Response:
    """Wait up to 30 s for the new code."""
    await spend.take("qr", session.user)
    return await _refreshed(parts, session, await parts.codes.refresh(session))


async def _dto(parts: Parts, view: SessionView) -> SessionDTO:
    qr = await parts.codes.current(view)
    return session_dto(view, utc_now(), qr, await data_url(qr.code) if qr else None)


async def _shown(parts: Parts, view: SessionView) -> Response:
    body = SessionAnswer(data=await _dto(parts, view))
    return answer(body, headers=SECRET | placed(view.position))


async def _created(view: SessionView, qr: QrView | None, status: int = 200) -> Response:
    picture = await data_url(qr.code) if qr else None
    dto = session_dto(view, utc_now(), qr, picture)
    body = CreateAnswer(
        session_id=dto.session_id,
        status=dto.status,
        qr=dto.qr,
        qr_data_url=picture,
        data=dto,
    )
    return answer(body, status, SECRET | placed(view.position))


async def _refreshed(parts: Parts, session: SessionId, found: QrView | Linked) -> Response:
    view = await parts.directory.existing(session)
    return await _created(view, found if isinstance(found, QrView) else None)
