"""Routes that steer a session: start it again, rest it, unlink it, forget it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from events.subjects import SessionId
from gateway.answers import DoneAnswer, answer, errors
from gateway.budget import Spend
from gateway.callers import needs
from gateway.lifecycle import Done
from gateway.named import There
from gateway.parts import Use

router = APIRouter(prefix="/api/sessions/{id}", tags=["sessions"])

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": DoneAnswer, "description": "Accepted; the outcome follows."}
}


_STEERED = {200: {"model": DoneAnswer}} | _ACCEPTED | errors(400, 404, 409, 429, 503)


@router.post(
    "/reconnect",
    summary="Close the browser and start again",
    responses=_STEERED,
)
@needs("manage")
async def reconnect(session: There, parts: Use, spend: Spend) -> Response:
    """Start a session that rests, or start a running one anew."""
    await spend.take("sessions", session.user)
    return _done(session, await parts.lifecycle.reconnect(session))


@router.post(
    "/reset-breaker",
    summary="Close the breakers of a session: forget its failures and start it now",
    responses=_STEERED,
)
@needs("manage")
async def reset_breaker(session: There, parts: Use) -> Response:
    """Start a suspended session at once. One whose breakers are closed is let be."""
    return _done(session, await parts.lifecycle.reset(session))


@router.post(
    "/disconnect",
    summary="Rest the browser and keep the link",
    responses=_STEERED,
)
@needs("manage")
async def disconnect(session: There, parts: Use) -> Response:
    """Stop a session; it is not brought back by itself."""
    return _done(session, await parts.lifecycle.disconnect(session))


@router.post(
    "/logout",
    summary="Unlink from the phone and delete the profile",
    responses=_STEERED,
)
@needs("manage")
async def logout(session: There, parts: Use) -> Response:
    """Log a session out."""
    return _done(session, await parts.lifecycle.logout(session))


@router.delete(
    "",
    summary="Log out, and forget the session and all that belongs to it",
    responses={200: {"model": DoneAnswer}} | _ACCEPTED | errors(400, 404, 429, 503),
)
@needs("manage")
async def delete(session: There, parts: Use) -> Response:
    """Delete a session."""
    return _done(session, await parts.lifecycle.delete(session))


def _done(session: SessionId, done: Done) -> Response:
    body = DoneAnswer(session_id=session.joined, status=done.word)
    return answer(body, 200 if done.settled else 202)
