"""Routes of webhooks: endpoints, and what was delivered lately."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import Response

from gateway.addresses import bad_url
from gateway.answers import SECRET, Answer, answer, errors
from gateway.callers import Who, needs
from gateway.parts import Parts, Use
from gateway.problems import Problem
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.named import PREFIX, TAGS, Called, There, Whose, about_one
from gateway.webhooks.wire import (
    DeliveriesAnswer,
    RecentDTO,
    WebhookAnswer,
    WebhookBody,
    WebhookDTO,
    WebhooksAnswer,
)

router = APIRouter(prefix=PREFIX, tags=TAGS)

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
    return answer(WebhookAnswer(data=await _shown(parts, endpoint), secret=made), headers=SECRET)


@router.get(
    "", summary="List endpoints", responses={200: {"model": WebhooksAnswer}} | errors(400, 503)
)
@needs("read")
async def listing(caller: Who, parts: Use, user: Whose = None) -> Response:
    """List a user's endpoints; for an admin key, everyone's."""
    register = parts.webhooks.register
    whose = caller.whose(user)
    found = await register.every() if whose is None else await register.of(whose)
    shown = [await _shown(parts, endpoint) for endpoint in found]
    return answer(WebhooksAnswer(webhooks=shown, total=len(shown)))


@router.get("/{name}", summary="Show an endpoint", responses=about_one(WebhookAnswer))
@needs("read")
async def show(endpoint: There, parts: Use) -> Response:
    """Show an endpoint, how far it is, and which sessions it does not take."""
    return answer(WebhookAnswer(data=await _shown(parts, endpoint)))


@router.delete(
    "/{name}", summary="Forget an endpoint and its dead letters", responses=about_one(Answer)
)
@needs("manage")
async def delete(called: Called, parts: Use) -> Response:
    """Forget an endpoint. What it was to get is not posted any more."""
    endpoint = await parts.webhooks.register.delete(called)
    await parts.webhooks.forget(endpoint)
    await parts.webhooks.letters.clear(endpoint.id)
    return answer(Answer())


@router.get(
    "/{name}/deliveries",
    summary="What became of events lately",
    responses=about_one(DeliveriesAnswer),
)
@needs("read")
async def deliveries(endpoint: There, parts: Use) -> Response:
    """Show the last deliveries, the newest first; they are recorded twice a second."""
    progress = await parts.webhooks.progress(endpoint)
    recent = () if progress is None else progress.recent
    return answer(DeliveriesAnswer(deliveries=[RecentDTO.of(one) for one in reversed(recent)]))


async def _shown(parts: Parts, endpoint: Endpoint) -> WebhookDTO:
    return WebhookDTO.of(endpoint, await parts.webhooks.progress(endpoint))
