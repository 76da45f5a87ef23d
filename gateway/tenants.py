"""A tenant's own user at NATS, in an account that reaches the tenant's subjects and no others."""

from __future__ import annotations

from pydantic import JsonValue

from events import subjects


def account_of(user: str) -> str:
    """Name the account of a tenant; raises BadToken."""
    return f"TENANT_{subjects.token(user, 'USER')}"


def login_of(user: str) -> str:
    """Name the user that its service logs in as; raises BadToken.

    Never the bare id: a tenant that is called as a role is, `node` say, would be a
    second user of that name, and the server would not start.
    """
    return f"tenant-{subjects.token(user, 'USER')}"


def account(user: str, password: str) -> dict[str, JsonValue]:
    """Describe the account as nats-server reads it, which takes JSON; raises BadToken."""
    services: list[JsonValue] = [
        {"service": {"account": "WA", "subject": subject}} for subject in subjects.requests_of(user)
    ]
    streams: list[JsonValue] = [
        {"stream": {"account": "WA", "subject": subject}} for subject in subjects.told_to(user)
    ]
    return {
        "users": [{"user": login_of(user), "password": password}],
        "imports": [*services, *streams],
    }
