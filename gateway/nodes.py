"""Routes of nodes: emptying one before its machine is taken away."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from gateway.answers import Answer, answer, errors
from gateway.callers import needs
from gateway.parts import Use

router = APIRouter(prefix="/api/nodes", tags=["nodes"])


class DrainAnswer(Answer):
    """How far a node is with handing its sessions over; `left` 0: it has none."""

    node: str
    left: int


@router.post(
    "/{node}/drain",
    summary="Empty a node",
    responses={200: {"model": DrainAnswer}} | errors(400, 403, 404, 409, 503),
)
@needs("manage", admin=True)
async def drain(
    parts: Use,
    node: Annotated[
        str,
        Path(
            description="The node's name, NODE in its settings.",
            pattern="^[A-Za-z0-9_-]{1,64}$",
            examples=["node-1"],
        ),
    ],
) -> Response:
    """Have a node hand its sessions over to others, a few at a time, and take none any more.

    Asking again begins nothing anew: it tells how many are left. The node goes on
    running, empty, until it is stopped; started again it takes sessions as before.
    """
    told = await parts.asks.drain(node)
    left = told.get("left")
    return answer(DrainAnswer(node=node, left=left if isinstance(left, int) else 0))
