"""Which endpoint a route is about: by its name, and whose it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query

from gateway.answers import Answer, errors
from gateway.callers import Who
from gateway.ids import Id
from gateway.parts import Use
from gateway.webhooks.endpoint import Endpoint, Name

PREFIX = "/api/webhooks"
TAGS: list[Any] = ["webhooks"]

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


async def _there(called: Called, parts: Use) -> Endpoint:
    return await parts.webhooks.register.get(called)


There = Annotated[Endpoint, Depends(_there)]
"""The endpoint that a path names; the route need not look whether it exists (404)."""


def about_one(model: type[Answer]) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route about an endpoint that is there."""
    return {200: {"model": model}} | errors(400, 404, 503)
