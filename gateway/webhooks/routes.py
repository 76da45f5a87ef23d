"""Routes of webhooks: endpoints, what was delivered lately, and dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from gateway.answers import SECRET, Answer, answer, errors
from gateway.callers import Who, needs
from gateway.ids import Id, SessionKey
from gateway.parts import Use
from gateway.problems import Problem
from gateway.webhooks import signing
from gateway.webhooks.endpoint import EVENTS, LONGEST_URL, Endpoint, Name, bad_url
from gateway.webhooks.letters import Kept
from gateway.webhooks.progress import Progress, Totals
from gateway.webhooks.redrive import Driven
from gateway.wire import Wire, instant

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])


def _event(value: object) -> str:
    if value == "*" or value in EVENTS:
        return str(value)
    known = ", ".join(sorted(EVENTS))
    raise PydanticCustomError("bad_event", "must be * or one of {known}", {"known": known})


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("bad_secret", "must be text")
    try:
        return signing.checked(value)
    except signing.BadSecret as error:
        raise PydanticCustomError("bad_secret", "{rule}", {"rule": str(error)}) from None


class WebhookBody(Wire):
    """Where to post, and what."""

    url: str = Field(
        min_length=1, max_length=LONGEST_URL, examples=["https://example.org/whatsapp"]
    )
    events: list[Annotated[str, BeforeValidator(_event, json_schema_input_type=str)]] = Field(
        min_length=1,
        description="Names as on the live feed, or `*`. Codes are shown there only.",
        examples=[["message-received", "session-ready"]],
    )
    secret: Annotated[str, BeforeValidator(_secret, json_schema_input_type=str)] | None = Field(
        default=None,
        description=f"Signs what is posted; {signing.RULE}. One is made where none is given; "
        "a new one signs beside the old one for a day.",
    )
    session: SessionKey | None = Field(default=None, description="This session only.")


class RecentDTO(Wire):
    """What became of one event lately."""

    id: str
    position: int
    event: str
    session: str
    status: str = Field(description="delivered, failing, dead")
    attempts: int
    last_error: str | None
    http_status: int | None
    reply: str | None
    timestamp: str


class StoppedDTO(Wire):
    """A session whose events the endpoint does not take at the moment."""

    session: str
    failures: int
    failing_since: str | None
    next_attempt: str | None
    last_error: str | None


class WebhookDTO(Wire):
    """An endpoint. Its secret is never shown again."""

    name: str
    user_id: str | None
    url: str
    events: list[str]
    session: str | None
    created_at: str
    updated_at: str
    position: int | None = Field(description="Up to here the log was read for it.")
    totals: Totals
    failing: list[StoppedDTO]


class WebhookAnswer(Answer):
    """An endpoint; `secret` only where it was made by this very call."""

    data: WebhookDTO
    secret: str | None = None


class WebhooksAnswer(Answer):
    """Endpoints."""

    webhooks: list[WebhookDTO]
    total: int


class DeliveriesAnswer(Answer):
    """What became of events lately, the newest first."""

    deliveries: list[RecentDTO]


class LetterDTO(Wire):
    """An event that was not delivered. `reason`: gave_up, or overflow."""

    id: int
    event_id: str
    event: str
    session: str
    position: int
    reason: str
    attempts: int
    last_error: str | None
    timestamp: str


class LettersAnswer(Answer):
    """Dead letters, in the order of their events."""

    dead: list[LetterDTO]
    total: int


class DrivenDTO(Wire):
    """A dead letter that was to be delivered again. `outcome`: delivered, failed, gone, left."""

    id: int
    event_id: str
    outcome: str
    error: str | None


class DrivenAnswer(Answer):
    """How delivering again went."""

    delivered: int
    remaining: int
    results: list[DrivenDTO]


Whose = Annotated[
    Id | None, Query(alias="userId", description="For admin keys: whose webhook; none: an admin's.")
]


def _called(
    caller: Who,
    name: Annotated[Id, Path(description="Letters, digits, _ and -.")],
    user: Whose = None,
) -> Name:
    return Name(caller.whose(user), name)


Called = Annotated[Name, Depends(_called)]
Number = Annotated[int, Path(alias="id", ge=1, le=2**53, description="A dead letter's id.")]
_EXAMPLE: dict[str, Any] = {
    "url": "https://example.org/whatsapp",
    "events": ["message-received", "session-ready"],
}


@router.put(
    "/{name}",
    summary="Have events posted to a URL",
    responses={200: {"model": WebhookAnswer}} | errors(400, 409, 503),
)
@needs("manage")
async def put(
    called: Called, body: Annotated[WebhookBody, Body(examples=[_EXAMPLE])], parts: Use
) -> Response:
    """Create an endpoint, or change the one of this name.

    A new one gets what happens from now on. One that is changed goes on where it was,
    and what waited for a later try is tried at once.
    """
    rule = bad_url(body.url, parts.webhooks.reachable)
    if rule is not None:
        raise Problem(400, "bad_input", f"url {rule}.", errors=[{"field": "url", "rule": rule}])
    endpoint, made = await parts.webhooks.register.put(
        called,
        url=body.url,
        events=("*",) if "*" in body.events else tuple(dict.fromkeys(body.events)),
        session=body.session,
        secret=body.secret,
    )
    parts.webhooks.changed()
    shown = _shown(endpoint, await parts.webhooks.progress(endpoint))
    return answer(WebhookAnswer(data=shown, secret=made), headers=SECRET)


@router.get(
    "", summary="List endpoints", responses={200: {"model": WebhooksAnswer}} | errors(400, 503)
)
@needs("read")
async def listing(caller: Who, parts: Use, user: Whose = None) -> Response:
    """List a user's endpoints; for an admin key, everyone's."""
    register = parts.webhooks.register
    whose = caller.whose(user)
    found = await register.every() if whose is None else await register.of(whose)
    shown = [_shown(endpoint, await parts.webhooks.progress(endpoint)) for endpoint in found]
    return answer(WebhooksAnswer(webhooks=shown, total=len(shown)))


@router.get(
    "/{name}",
    summary="Show an endpoint",
    responses={200: {"model": WebhookAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def show(called: Called, parts: Use) -> Response:
    """Show an endpoint, how far it is, and which sessions it does not take."""
    endpoint = await parts.webhooks.register.get(called)
    return answer(WebhookAnswer(data=_shown(endpoint, await parts.webhooks.progress(endpoint))))


@router.delete(
    "/{name}",
    summary="Forget an endpoint and its dead letters",
    responses={200: {"model": Answer}} | errors(400, 404, 503),
)
@needs("manage")
async def delete(called: Called, parts: Use) -> Response:
    """Forget an endpoint. What it was to get is not posted any more."""
    endpoint = await parts.webhooks.register.delete(called)
    await parts.webhooks.forget(endpoint)
    for kept in await parts.webhooks.letters.of(endpoint.id):
        await parts.webhooks.letters.delete(kept.number)
    return answer(Answer())


@router.get(
    "/{name}/deliveries",
    summary="What became of events lately",
    responses={200: {"model": DeliveriesAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def deliveries(called: Called, parts: Use) -> Response:
    """Show the last deliveries, the newest first; they are recorded twice a second."""
    endpoint = await parts.webhooks.register.get(called)
    progress = await parts.webhooks.progress(endpoint)
    recent = () if progress is None else progress.recent
    shown = [
        RecentDTO(
            id=one.id,
            position=one.position,
            event=one.event,
            session=one.session,
            status=one.status,
            attempts=one.attempts,
            last_error=one.error,
            http_status=one.code,
            reply=one.replied,
            timestamp=instant(one.at),
        )
        for one in reversed(recent)
    ]
    return answer(DeliveriesAnswer(deliveries=shown))


@router.get(
    "/{name}/dead",
    summary="List dead letters",
    responses={200: {"model": LettersAnswer}} | errors(400, 404, 503),
)
@needs("read")
async def dead(
    called: Called, parts: Use, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> Response:
    """List events that were given up, or that were too many to wait."""
    endpoint = await parts.webhooks.register.get(called)
    letters = await parts.webhooks.letters.of(endpoint.id)
    shown = [_letter(kept) for kept in letters[:limit]]
    return answer(LettersAnswer(dead=shown, total=len(letters)))


@router.post(
    "/{name}/redrive",
    summary="Deliver all dead letters again",
    responses={200: {"model": DrivenAnswer}} | errors(400, 404, 503),
)
@needs("manage")
async def redrive_all(called: Called, parts: Use) -> Response:
    """Deliver in the order of the events, for up to 25 s; a session stops at its first failure.

    What was delivered is no letter any more. Call again while `remaining` is not 0.
    """
    endpoint = await parts.webhooks.register.get(called)
    letters = await parts.webhooks.letters.of(endpoint.id)
    return _driven(await parts.webhooks.redrive.drive(endpoint, letters))


@router.post(
    "/{name}/dead/{id}/redrive",
    summary="Deliver one dead letter again",
    responses={200: {"model": DrivenAnswer}} | errors(400, 404, 503),
)
@needs("manage")
async def redrive_one(called: Called, number: Number, parts: Use) -> Response:
    """Deliver one event again, whatever the order."""
    endpoint = await parts.webhooks.register.get(called)
    kept = await parts.webhooks.letters.one(endpoint.id, number)
    if kept is None:
        raise _no_letter(number)
    return _driven(await parts.webhooks.redrive.drive(endpoint, [kept]))


@router.delete(
    "/{name}/dead",
    summary="Throw all dead letters away",
    responses={200: {"model": Answer}} | errors(400, 404, 503),
)
@needs("manage")
async def discard_all(called: Called, parts: Use) -> Response:
    """Throw away what is there now."""
    endpoint = await parts.webhooks.register.get(called)
    for kept in await parts.webhooks.letters.of(endpoint.id):
        await parts.webhooks.letters.delete(kept.number)
    return answer(Answer())


@router.delete(
    "/{name}/dead/{id}",
    summary="Throw a dead letter away",
    responses={200: {"model": Answer}} | errors(400, 404, 503),
)
@needs("manage")
async def discard(called: Called, number: Number, parts: Use) -> Response:
    """Throw one away."""
    endpoint = await parts.webhooks.register.get(called)
    if await parts.webhooks.letters.one(endpoint.id, number) is None:
        raise _no_letter(number)
    await parts.webhooks.letters.delete(number)
    return answer(Answer())


def _no_letter(number: int) -> Problem:
    return Problem(404, "not_found", f"There is no dead letter {number} of this webhook.")


def _shown(endpoint: Endpoint, progress: Progress | None) -> WebhookDTO:
    lanes = {} if progress is None else progress.lanes
    return WebhookDTO(
        name=endpoint.name,
        user_id=endpoint.user,
        url=endpoint.url,
        events=list(endpoint.events),
        session=endpoint.session,
        created_at=instant(endpoint.created),
        updated_at=instant(endpoint.updated),
        position=None if progress is None else progress.position,
        totals=Totals() if progress is None else progress.totals,
        failing=[
            StoppedDTO(
                session=dotted.replace(".", "-"),
                failures=lane.failures,
                failing_since=_instant(lane.since),
                next_attempt=_instant(lane.due),
                last_error=lane.error,
            )
            for dotted, lane in sorted(lanes.items())
            if lane.failures
        ],
    )


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant(at)


def _letter(kept: Kept) -> LetterDTO:
    letter = kept.letter
    return LetterDTO(
        id=kept.number,
        event_id=letter.event_id,
        event=letter.event,
        session=letter.session.replace(".", "-"),
        position=letter.position,
        reason=letter.reason,
        attempts=letter.attempts,
        last_error=letter.error,
        timestamp=instant(letter.at),
    )


def _driven(driven: list[Driven]) -> Response:
    results = [
        DrivenDTO(
            id=one.letter.number,
            event_id=one.letter.letter.event_id,
            outcome=one.outcome,
            error=one.error,
        )
        for one in driven
    ]
    return answer(
        DrivenAnswer(
            delivered=sum(one.outcome == "delivered" for one in driven),
            remaining=sum(one.outcome in {"failed", "left"} for one in driven),
            results=results,
        )
    )
