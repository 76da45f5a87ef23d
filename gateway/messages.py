"""Routes that send messages and show what was said."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from events.subjects import SessionId
from gateway.answers import (
    PLACED,
    HistoryAnswer,
    SendAnswer,
    Sent,
    SentAnswer,
    answer,
    errors,
    placed,
)
from gateway.budget import Spend
from gateway.callers import Who, needs
from gateway.keyed import Keyed, keyed_of
from gateway.message_answers import message_dto
from gateway.named import OfPath
from gateway.parts import Use
from gateway.problems import Problem
from gateway.sending import Delivery
from gateway.wire import MessageBody, SendBody, instant

router = APIRouter(tags=["messages"])


async def _once(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[ -~]*$",
            description="The same key never sends twice: the answer is that of the first call.",
        ),
    ] = None,
) -> Keyed | None:
    return keyed_of(request)


Once = Annotated[Keyed | None, Depends(_once)]
"""What the middleware found for the request's key."""

_ERRORS = errors(400, 404, 409, 413, 422, 429, 503)
_EXAMPLE: dict[str, Any] = {"to": "+49 170 1234567", "message": "Hello"}


@router.post(
    "/api/messages/send",
    summary="Send a text",
    responses={
        200: {"model": SendAnswer},
        202: {"model": SendAnswer, "description": "Accepted; it is not on the wire yet."},
    }
    | _ERRORS,
)
@needs("send")
async def send(
    body: Annotated[
        SendBody,
        Body(examples=[_EXAMPLE | {"sessionId": "user-1-bot-1"}, _EXAMPLE | {"userId": "user-1"}]),
    ],
    parts: Use,
    caller: Who,
    spend: Spend,
    once: Once,
) -> Response:
    """Send through a session, or through the least loaded ready session of a user.

    The least loaded one has the fewest sends under way here, then the fewest
    messages sent.
    """
    user = caller.whose(body.user_id)
    if body.session_id is not None:
        view = await parts.directory.by_id(body.session_id, caller)
        await parts.strangers.pay(spend, view.user, [SessionId(view.user, view.bot)], body.to)
        delivery = await parts.sender.through(view, body.to, body.message, once)
    elif user is not None:
        sessions = [SessionId(v.user, v.bot) for v in await parts.directory.every(user)]
        await parts.strangers.pay(spend, user, sessions, body.to)
        delivery = await parts.sender.for_user(user, body.to, body.message, once)
    else:
        raise Problem(400, "bad_input", "sessionId is missing; userId would do as well.")
    sent = sent_dto(delivery)
    return answer(SendAnswer(**sent.model_dump()), 200 if delivery.is_sent else 202)


@router.post(
    "/api/sessions/{id}/messages",
    summary="Send a text through a session",
    responses={200: {"model": SentAnswer}, 202: {"model": SentAnswer}} | _ERRORS,
)
@needs("send")
async def send_through(
    session_id: OfPath,
    body: Annotated[MessageBody, Body(examples=[_EXAMPLE])],
    *,
    parts: Use,
    caller: Who,
    spend: Spend,
    once: Once,
) -> Response:
    """See send."""
    view = await parts.directory.by_id(session_id, caller)
    await parts.strangers.pay(spend, view.user, [SessionId(view.user, view.bot)], body.to)
    delivery = await parts.sender.through(view, body.to, body.message, once)
    return answer(SentAnswer(data=sent_dto(delivery)), 200 if delivery.is_sent else 202)


@router.get(
    "/api/messages/{id}/history",
    summary="Messages of a session, newest first",
    responses={200: {"model": HistoryAnswer} | PLACED} | errors(400, 404, 503),
)
@needs("read")
async def history(
    session_id: OfPath,
    parts: Use,
    caller: Who,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
    before: Annotated[int | None, Query(ge=1, description="A position to page on from.")] = None,
) -> Response:
    """Show what was sent and received lately."""
    view = await parts.directory.by_id(session_id, caller)
    found = await parts.reads.history(SessionId(view.user, view.bot), limit, before)
    full = len(found) == limit
    days = parts.settings.media_days
    body = HistoryAnswer(
        session_id=view.session,
        messages=[message_dto(message, view.session, days) for message in found],
        total=len(found),
        next_before=found[-1].position if full else None,
    )
    newest = found[0].position if found else None
    return answer(body, headers={"Cache-Control": "no-store"} | placed(newest))


def sent_dto(delivery: Delivery) -> Sent:
    """Show how a send stands."""
    return Sent(
        session_id=delivery.session,
        message_id=delivery.wa_id,
        command_id=delivery.command,
        key=delivery.full_key,
        idempotency_key=delivery.key,
        status=delivery.status,
        timestamp=instant(delivery.at),
        ack=delivery.ack,
    )
