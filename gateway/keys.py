"""Routes of API keys. For admin keys only: who can make a key can do whatever it may."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Path
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from events.clock import utc_now
from gateway.answers import SECRET, Answer, answer, errors
from gateway.callers import ANY_KEY, SCOPES, Scope, Who, needs
from gateway.ids import Id
from gateway.keyring import Key
from gateway.moments import Written
from gateway.parts import Use
from gateway.problems import Problem
from gateway.wire import Wire, instant

router = APIRouter(prefix="/api/keys", tags=["keys"])

Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]*$"
    ),
]
OfPath = Annotated[str, Path(alias="id", pattern="^[0-9a-f]{16}$", examples=["5f0c1d9a7b3e2468"])]


class _KeyConvertor(StringConvertor):
    # `own` is a route beside the keys: to it a DELETE is a wrong method, not a bad id.
    regex = "(?!own$)[^/]+"


register_url_convertor("key", _KeyConvertor())


def _to_come(at: datetime) -> datetime:
    if at <= utc_now():
        raise PydanticCustomError("past", "must be in the future")
    return at


Instant = Annotated[Written, AfterValidator(_to_come)]


class KeyBody(Wire):
    """A key to make: an admin's, or with `userId` that of one user."""

    name: Name = Field(description="Whose key it is, for people.", examples=["support desk"])
    user_id: Id | None = Field(
        default=None, description="The user it is bound to; without one it is an admin key."
    )
    scopes: frozenset[Scope] = Field(
        default=SCOPES,
        min_length=1,
        # Said twice it is the same scope.
        json_schema_extra={"uniqueItems": False},
        description="read: see sessions, codes and messages. send: send messages. "
        "manage: steer sessions and, for admins, keys.",
    )
    expires_at: Instant | None = Field(
        default=None, description="Worth nothing from then on; without it, good until revoked."
    )


class KeyDTO(Wire):
    """A key as it is shown: all but its secret."""

    id: str
    name: str
    user_id: str | None
    admin: bool
    scopes: list[str]
    created_at: str
    expires_at: str | None


class KeyAnswer(Answer):
    """A key that was revoked."""

    data: KeyDTO


class MintedAnswer(KeyAnswer):
    """A new key. `key` is its secret, which is shown here and never again."""

    key: str


class KeysAnswer(Answer):
    """Every key but the first admin key, oldest first."""

    keys: list[KeyDTO]


class OwnAnswer(Answer):
    """What the key of this very request may do; `userId` is null for an admin's."""

    id: str
    user_id: str | None
    admin: bool
    scopes: list[Scope]


_EXAMPLE = {"name": "support desk", "userId": "user-1", "scopes": ["read", "send"]}


@router.post(
    "",
    summary="Make an API key",
    responses={200: {"model": MintedAnswer}} | errors(400, 413, 503),
)
@needs("manage", admin=True)
async def make(body: Annotated[KeyBody, Body(examples=[_EXAMPLE])], parts: Use) -> Response:
    """Make an admin's key or, with `userId`, one that reaches that user's sessions only."""
    minted = await parts.keyring.mint(body.name, body.user_id, body.scopes, body.expires_at)
    return answer(MintedAnswer(key=minted.secret, data=_dto(minted.key)), headers=SECRET)


@router.get("", summary="List API keys", responses={200: {"model": KeysAnswer}} | errors(503))
@needs("manage", admin=True)
async def listing(parts: Use) -> Response:
    """List the keys without their secrets, which are kept nowhere."""
    return answer(KeysAnswer(keys=[_dto(key) for key in await parts.keyring.all()]))


@router.get(
    "/own", summary="What this key may do", responses={200: {"model": OwnAnswer}} | errors(503)
)
@needs(ANY_KEY)
async def own(caller: Who) -> Response:
    """Tell whose key came with the request, and its scopes."""
    admin = caller.user is None
    scopes = sorted(caller.scopes)
    return answer(OwnAnswer(id=caller.id, user_id=caller.user, admin=admin, scopes=scopes))


@router.delete(
    "/{id:key}",
    summary="Revoke an API key",
    responses={200: {"model": KeyAnswer}} | errors(400, 404, 503),
)
@needs("manage", admin=True)
async def revoke(key_id: OfPath, parts: Use) -> Response:
    """Make a key worth nothing: here at once, at other gateways as soon as they hear of it."""
    key = await parts.keyring.revoke(key_id)
    if key is None:
        raise Problem(404, "no_key", f"There is no key {key_id}.")
    return answer(KeyAnswer(data=_dto(key)))


def _dto(key: Key) -> KeyDTO:
    return KeyDTO(
        id=key.id,
        name=key.name,
        user_id=key.user,
        admin=key.user is None,
        scopes=sorted(key.scopes),
        created_at=instant(key.created),
        expires_at=None if key.expires is None else instant(key.expires),
    )
