"""The route that shows a session's page as it is."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, TypeAdapter
from starlette.responses import Response

from gateway.answers import SECRET, errors
from gateway.callers import needs
from gateway.named import There
from gateway.parts import Use
from gateway.problems import Problem

router = APIRouter(prefix="/api/sessions/{id}", tags=["sessions"])


class _Shot(BaseModel):
    png: str


_SHOT: TypeAdapter[_Shot] = TypeAdapter(_Shot)

_PICTURE: dict[str, Any] = {"content": {"image/png": {}}}


@router.get(
    "/screenshot",
    summary="A picture of the session's page",
    response_class=Response,
    responses={200: _PICTURE} | errors(400, 404, 409, 503),
)
# Not "read": while the session waits for a scan the picture holds the code.
@needs("manage")
async def screenshot(session: There, parts: Use) -> Response:
    """Have the session's browser draw its page, in whatever state that is."""
    told = await parts.asks.look(session, "screenshot", _SHOT)
    try:
        picture = base64.b64decode(told.png, validate=True)
    except binascii.Error:
        raise Problem(503, "bad_answer", "The session's answer makes no sense.") from None
    return Response(picture, headers=SECRET, media_type="image/png")
