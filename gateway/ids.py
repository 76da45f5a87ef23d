"""Ids and other words as they arrive: text or whole numbers, checked at the edge."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from events.subjects import TOKEN_RULE, BadToken, token

JOINED_RULE = "must be a session id: 3 to 129 characters of A-Z, a-z, 0-9, _ and -"
_JOINED = re.compile(r"[A-Za-z0-9_-]{3,129}")

# What the document says of them; the rules themselves are below.
_Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Joined = Annotated[str, StringConstraints(pattern=f"^{_JOINED.pattern}$")]


def text(value: object) -> str:
    """Take a text, or write a whole number as one; raise PydanticCustomError."""
    # To JSON, 1.0 is a whole number.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # JSON's true is no number, though Python's is.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("bad_id", "must be text or a whole number")
    return str(value)


def _token(value: object) -> str:
    try:
        return token(text(value))
    except BadToken:
        raise PydanticCustomError("bad_id", f"must be {TOKEN_RULE}") from None


def is_joined(words: str) -> bool:
    """Tell whether a text may be a session id as clients see it."""
    return _JOINED.fullmatch(words) is not None


def _joined(value: object) -> str:
    joined = text(value)
    if not is_joined(joined):
        raise PydanticCustomError("bad_id", JOINED_RULE)
    return joined


def given(value: object) -> object:
    """Take what has no value (`?userId=`, `"sessionId": ""`) for what is not there."""
    return None if value == "" else value


Id = Annotated[
    str,
    BeforeValidator(_token, json_schema_input_type=_Token | int),
    Field(description=f"Text or a whole number: {TOKEN_RULE}.", examples=["user-1"]),
]
SessionKey = Annotated[
    str,
    BeforeValidator(_joined, json_schema_input_type=_Joined),
    Field(description="`<userId>-<plubotId>`", examples=["user-1-bot-1"]),
]
