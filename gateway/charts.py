"""Routes that give what charts are drawn from."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from gateway.answers import Answer, answer, errors
from gateway.callers import Who, needs
from gateway.named import There
from gateway.parts import Use
from gateway.trends import TrendsAnswer
from gateway.wire import Wire, instant

router = APIRouter(prefix="/api", tags=["metrics"])


class SampleDTO(Wire):
    """What a browser took when its node measured it: memory in bytes, CPU in cores."""

    at: str
    memory: int
    cpu: float


class UsageAnswer(Answer):
    """Measurements of a session's browser, the oldest first."""

    session_id: str
    samples: list[SampleDTO]


@router.get(
    "/trends",
    summary="The last half hour in steps of 10 seconds",
    responses={200: {"model": TrendsAnswer}} | errors(503),
)
@needs("read")
async def trends(parts: Use, caller: Who) -> Response:
    """Count messages and time sends; a user's key is told of that user's sessions."""
    return answer(parts.trends.of(caller.user))


@router.get(
    "/sessions/{id}/usage",
    summary="Memory and CPU of a session's browser over time",
    responses={200: {"model": UsageAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def usage(session: There, parts: Use) -> Response:
    """Tell what its node measured every `MEMORY_INTERVAL`, as far as this gateway heard it."""
    samples = [
        SampleDTO(at=instant(taken.at), memory=taken.memory, cpu=taken.cpu)
        for taken in parts.browsers.past(session)
    ]
    return answer(UsageAnswer(session_id=session.joined, samples=samples))
