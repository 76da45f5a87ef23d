"""`wa keys`: API keys from a terminal, over the gateway's own routes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue
from rich.table import Table

from events.clock import utc_now
from gateway.cli.service import CannotDo, Service
from gateway.wire import instant


def create(
    service: Service, name: str, user: str | None, scopes: list[str] | None, days: float | None
) -> str:
    """Make a key and return its secret; raises CannotDo."""
    expires = None if days is None else instant(utc_now() + timedelta(days=days))
    asked = {"name": name, "userId": user, "scopes": scopes or None, "expiresAt": expires}
    with service.http() as http:
        body = {field: value for field, value in asked.items() if value is not None}
        return str(service.call(http, "POST", "/api/keys", json=body)["key"])


def table(service: Service) -> Table:
    """List the keys; raises CannotDo."""
    with service.http() as http:
        found = service.call(http, "GET", "/api/keys").get("keys")
    shown = Table(box=None, header_style="dim")
    for column in ("ID", "NAME", "OF", "SCOPES", "CREATED", "EXPIRES"):
        shown.add_column(column)
    for key in found if isinstance(found, list) else []:
        if isinstance(key, dict):
            shown.add_row(*_row(key))
    return shown


def revoke(service: Service, key_id: str) -> str:
    """Make a key worth nothing and return its name; raises CannotDo."""
    if not key_id.isalnum():
        raise CannotDo(f"{key_id} is no id of a key: take one from `wa keys list`")
    with service.http() as http:
        data = service.call(http, "DELETE", f"/api/keys/{key_id}").get("data")
    return str(data.get("name")) if isinstance(data, dict) else key_id


def _row(key: Mapping[str, JsonValue]) -> list[str]:
    scopes = key.get("scopes")
    return [
        str(key.get("id")),
        str(key.get("name")),
        str(key.get("userId") or "(admin)"),
        " ".join(str(scope) for scope in scopes) if isinstance(scopes, list) else "",
        str(key.get("createdAt"))[:10],
        str(key.get("expiresAt") or "never")[:10],
    ]
