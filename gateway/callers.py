"""Who calls, and what they may do: every route and every door asks here.

For whoever adds one:

- Say what its keys must be able to do, next to the route: `@needs("read")`; a mounted
  application is wrapped, `app.mount(path, needs("read")(door))`. `gateway/auth.py` looks
  before anything of a request is read. A route that says nothing answers nobody.
- Ask whose sessions it is about. `caller: Who` in a route; `caller_of(connection)`
  anywhere else behind `gateway/auth.py`; and where the key comes in a message of the
  door's own (`@needs(ANYONE)`), `await parts.keyring.caller(key)`, then `caller.require(scope)`.
  - A user that a request names: `caller.own(SessionId(...))`, `caller.whose(user)`: 403.
  - A session's id: `directory.by_id(id, caller)`: 404, in the very words of an id that
    there is not. 403 would tell which ids of others exist.
  - A list: `directory.every(caller.whose(user))`. A feed: `Watch(user=caller.user)`.
    All else that belongs to somebody: `caller.sees(user)`.
- What is kept for each key (answers to repeat, say) is kept under `caller.id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar, get_args

from fastapi import Depends
from fastapi.routing import RouteContext
from starlette.requests import HTTPConnection

from events.subjects import SessionId
from gateway.problems import Problem

Scope = Literal["read", "send", "manage"]
"""read: see sessions, codes and messages. send: send messages. manage: steer sessions, keys."""

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))

Endpoint = TypeVar("Endpoint")


FIRST = "admin"
"""The id of the first admin key, which is in no bucket and ends with the process."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key came with a request; `user` is None for an admin key, which sees everyone."""

    id: str = FIRST
    user: str | None = None
    scopes: frozenset[Scope] = SCOPES

    def sees(self, user: str) -> bool:
        """Tell whether what belongs to a user is shown to this caller."""
        return self.user in {None, user}

    def own(self, session: SessionId) -> SessionId:
        """Return a session that was named by its two halves; raises Problem 403."""
        self.whose(session.user)
        return session

    def whose(self, user: str | None) -> str | None:
        """Return whose sessions are meant, None for everybody's; raises Problem 403."""
        if user is not None and not self.sees(user):
            raise Problem(403, "not_yours", "This key belongs to another user than the one named.")
        return user if user is not None else self.user

    def require(self, scope: Scope) -> None:
        """Raise Problem 403 unless the key has a scope."""
        Need(scope).met_by(self)


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks for: a scope, an admin's key, any key at all, or not even `key`."""

    scope: Scope | None = None
    admin: bool = False
    key: bool = True

    def met_by(self, caller: Caller) -> None:
        """Raise Problem 403 if a caller may not."""
        if self.scope is not None and self.scope not in caller.scopes:
            detail = f"This key may not {self.scope}: it lacks the scope {self.scope}."
            raise Problem(403, "no_scope", detail)
        if self.admin and caller.user is not None:
            raise Problem(403, "admins_only", "This is for admin keys; this key belongs to a user.")


ANY_KEY = Need()
ANYONE = Need(key=False)
"""For health, and for doors that ask for the key in their own way."""

_ATTRIBUTE = "wa_need"


def needs(what: Scope | Need, *, admin: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Declare what a route or a mounted application needs; `admin`: no user's key will do."""
    need = what if isinstance(what, Need) else Need(what, admin)

    def declared(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)[_ATTRIBUTE] = need
        return endpoint

    return declared


def need_of(route: RouteContext) -> Need | None:
    """Return what was declared for a route, None if nothing was."""
    endpoint: object = route.endpoint or getattr(route, "app", None)
    held: Mapping[str, object] = getattr(endpoint, "__dict__", {})
    need = held.get(_ATTRIBUTE)
    return need if isinstance(need, Need) else None


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who sent a request or opened a socket."""
    caller: Caller = connection.state.caller
    return caller


async def _caller(connection: HTTPConnection) -> Caller:
    # See parts.py: a plain function would run on another thread.
    return caller_of(connection)


Who = Annotated[Caller, Depends(_caller)]
