"""The passwords that the parts of one machine use among themselves, made at first start."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from events.private import write_private


def _password() -> str:
    # A letter first: nats.conf reads its variables as configuration, and a
    # password that looks like a number would be read as one.
    return "k" + secrets.token_hex(20)


class Passwords(BaseModel):
    """One per role at NATS, and one for Redis."""

    model_config = ConfigDict(frozen=True)

    node: str = Field(default_factory=_password, min_length=20)
    gateway: str = Field(default_factory=_password, min_length=20)
    projector: str = Field(default_factory=_password, min_length=20)
    ops: str = Field(default_factory=_password, min_length=20)
    service: str = Field(default_factory=_password, min_length=20)
    redis: str = Field(default_factory=_password, min_length=20)


def passwords(path: Path) -> Passwords:
    """Read them; make them if there are none, or only half a file of them.

    Safe to lose: NATS and Redis are given them anew at each start.
    """
    held = Passwords()
    with contextlib.suppress(FileNotFoundError, ValidationError):
        held = Passwords.model_validate_json(path.read_bytes())
    # Written back even if it was read: a role that is new has been given one just now.
    write_private(path, held.model_dump_json(indent=2))
    return held
