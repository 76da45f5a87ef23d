"""Routes of dead letters: look at them, deliver them again, throw them away."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from gateway.answers import Answer, answer
from gateway.callers import needs
from gateway.parts import Use
from gateway.problems import Problem
from gateway.webhooks.letters import Kept
from gateway.webhooks.named import PREFIX, TAGS, There, about_one
from gateway.webhooks.wire import DrivenAnswer, LetterDTO, LettersAnswer

router = APIRouter(prefix=PREFIX, tags=TAGS)


async def _numbered(
    endpoint: There,
    number: Annotated[int, Path(alias="id", ge=1, le=2**53, description="A dead letter's id.")],
    parts: Use,
) -> Kept:
    kept = await parts.webhooks.letters.one(endpoint.id, number)
    if kept is None:
        detail = f"There is no dead letter {number} of this webhook."
        raise Problem(404, "not_found", detail)
    return kept


Letter = Annotated[Kept, Depends(_numbered)]


@router.get("/{name}/dead", summary="List dead letters", responses=about_one(LettersAnswer))
@needs("read")
async def dead(
    endpoint: There, parts: Use, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> Response:
    """List events that were given up, or that were too many to wait."""
    letters = await parts.webhooks.letters.of(endpoint.id)
    shown = [LetterDTO.of(kept) for kept in letters[:limit]]
    return answer(LettersAnswer(dead=shown, total=len(letters)))


@router.post(
    "/{name}/redrive", summary="Deliver all dead letters again", responses=about_one(DrivenAnswer)
)
@needs("manage")
async def redrive_all(endpoint: There, parts: Use) -> Response:
    """Deliver in the order of the events, for up to 25 s; a session stops at its first failure.

    What was delivered is no letter any more. Call again while `remaining` is not 0.
    """
    letters = await parts.webhooks.letters.of(endpoint.id)
    return answer(DrivenAnswer.of(await parts.webhooks.redrive.drive(endpoint, letters)))


@router.post(
    "/{name}/dead/{id}/redrive",
    summary="Deliver one dead letter again",
    responses=about_one(DrivenAnswer),
)
@needs("manage")
async def redrive_one(endpoint: There, letter: Letter, parts: Use) -> Response:
    """Deliver one event again, whatever the order."""
    return answer(DrivenAnswer.of(await parts.webhooks.redrive.drive(endpoint, [letter])))


@router.delete("/{name}/dead", summary="Throw all dead letters away", responses=about_one(Answer))
@needs("manage")
async def discard_all(endpoint: There, parts: Use) -> Response:
    """Throw away what is there now."""
    await parts.webhooks.letters.clear(endpoint.id)
    return answer(Answer())


@router.delete("/{name}/dead/{id}", summary="Throw a dead letter away", responses=about_one(Answer))
@needs("manage")
async def discard(letter: Letter, parts: Use) -> Response:
    """Throw one away."""
    await parts.webhooks.letters.delete(letter.number)
    return answer(Answer())
