"""`wa sessions` and `wa breakers`: what there is, a line each."""

from __future__ import annotations

import json

from pydantic import JsonValue

from gateway.cli.service import Service
from gateway.cli.terminal import moment, out, plain, rows, table


def sessions(service: Service, user: str | None, status: str | None, *, as_json: bool) -> None:
    """List the sessions and their states; raises CannotDo."""
    asked = {name: value for name, value in (("userId", user), ("status", status)) if value}
    with service.http() as http:
        found = rows(service.call(http, "GET", "/api/sessions", params=asked), "sessions")
    if as_json:
        # Codes to scan are credentials, and a terminal is often recorded.
        plain(json.dumps([row | {"qr": None, "qrDataUrl": None} for row in found], indent=2))
        return
    if not found:
        out.print("No session. Make one: wa link USER BOT")
        return
    listed = table("SESSION", "STATUS", "PHONE", "SENT", "RECEIVED", "LAST ACTIVITY", "WHY")
    for row in found:
        listed.add_row(*_row(row))
    out.print(listed)


def breakers(service: Service, *, as_json: bool) -> None:
    """List the breakers; what is open comes first. Raises CannotDo."""
    with service.http() as http:
        found = rows(service.call(http, "GET", "/api/breakers"), "breakers")
    if as_json:
        plain(json.dumps(found, indent=2))
        return
    listed = table("OF", "TYPE", "STATE", "FAILURES", "REJECTED", "NEXT ATTEMPT", "SINCE")
    for row in sorted(found, key=lambda row: row.get("state") == "closed"):
        listed.add_row(
            str(row.get("sessionId") or row.get("node")),
            str(row.get("type")),
            str(row.get("state")),
            f"{row.get('failures')} of {row.get('threshold')}",
            str(row.get("rejected")),
            moment(row.get("nextAttempt")),
            moment(row.get("since")),
        )
    out.print(listed)


def _row(row: dict[str, JsonValue]) -> list[str]:
    metrics = row.get("metrics")
    counted = metrics if isinstance(metrics, dict) else {}
    return [
        str(row.get("sessionId")),
        str(row.get("status")),
        str(row.get("phoneNumber") or "").partition("@")[0],
        str(counted.get("messagesSent", "")),
        str(counted.get("messagesReceived", "")),
        moment(row.get("lastActivity")),
        str(row.get("error") or row.get("reason") or ""),
    ]
