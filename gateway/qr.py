"""Routes that give what links a phone: a QR code, as JSON or as a picture, or a code to type."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path
from pydantic import TypeAdapter
from starlette.responses import Response

from events.asks import PairingCode, Question
from events.subjects import SessionId
from gateway.answers import SECRET, LinkedAnswer, PairingCodeAnswer, QrAnswer, answer, errors
from gateway.budget import Budget, Spend
from gateway.callers import Who, needs
from gateway.codes import Linked
from gateway.ids import Id
from gateway.named import OfPath
from gateway.parts import Parts, Use
from gateway.pictures import data_url, png
from gateway.problems import not_found
from gateway.wire import PhoneBody, instant, number

router = APIRouter(tags=["qr"])

_TYPED: TypeAdapter[PairingCode] = TypeAdapter(PairingCode)
Accept = Annotated[str, Header(description="`image/png` gives the picture.")]
_PICTURE: dict[str, Any] = {"image/png": {}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": QrAnswer | LinkedAnswer,
        "content": _PICTURE,
        "description": "The code, or the news that the session is linked already.",
    }
} | errors(400, 408, 409, 429, 503)


@router.get("/api/qr/{userId}/{plubotId}", summary="Get the QR code to scan", responses=_ANSWERS)
# Not "read": it starts the session, and whoever scans the code is linked.
@needs("manage")
async def by_pair(
    user_id: Annotated[Id, Path(alias="userId")],
    plubot_id: Annotated[Id, Path(alias="plubotId")],
    *,
    parts: Use,
    caller: Who,
    spend: Spend,
    accept: Accept = "application/json",
) -> Response:
    """Wait up to 30 s for a code; starts the session if there is none."""
    return await _give(parts, spend, caller.own(SessionId(user_id, plubot_id)), accept)


@router.get(
    "/api/qr/{id}", summary="Get the QR code by session id", responses=_ANSWERS | errors(404)
)
@needs("manage")
async def by_id(
    session_id: OfPath,
    parts: Use,
    caller: Who,
    spend: Spend,
    accept: Accept = "application/json",
) -> Response:
    """Wait up to 30 s for a code. An id that is not known cannot be split, so it is a 404."""
    session = await parts.directory.pair(session_id)
    if session is None or not caller.sees(session.user):
        raise not_found(session_id)
    return await _give(parts, spend, session, accept)


@router.post(
    "/api/sessions/{id}/pairing-code",
    summary="Get a code to type into the phone instead of scanning one",
    responses={200: {"model": PairingCodeAnswer}} | errors(400, 404, 409, 429, 503),
)
@needs("manage")
async def pairing_code(
    session_id: OfPath,
    body: Annotated[PhoneBody, Body(examples=[{"phoneNumber": "491701234567"}])],
    parts: Use,
    caller: Who,
    spend: Spend,
) -> Response:
    """Ask WhatsApp for a code for this phone; the session must be showing a QR code."""
    view = await parts.directory.by_id(session_id, caller)
    await spend.take("qr", view.user)
    question = Question(number=number(body.phone_number))
    session = SessionId(view.user, view.bot)
    found = await parts.asks.look(session, "pairing-code", _TYPED, question)
    expires = None if found.expires is None else instant(found.expires)
    given = PairingCodeAnswer(session_id=view.session, code=found.code, expires_at=expires)
    return answer(given, headers=SECRET)


async def _give(parts: Parts, spend: Budget, session: SessionId, accept: str) -> Response:
    spend.user = session.user
    found = await parts.codes.get(session, partial(spend.take, "qr", session.user))
    if isinstance(found, Linked):
        body = LinkedAnswer(session_id=session.joined, phone_number=number(found.phone))
        return answer(body, headers=SECRET)
    if "image/png" in accept:
        picture = await png(found.code)
        return Response(picture, headers=SECRET, media_type="image/png")
    return answer(
        QrAnswer(
            session_id=session.joined,
            qr=found.code,
            qr_code=found.code,
            qr_data_url=await data_url(found.code),
            attempt=found.attempt,
            expires_at=instant(found.expires),
        ),
        headers=SECRET,
    )
