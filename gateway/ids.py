"""Ids and other words as they arrive: text or whole numbers, checked at the edge."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from events.subjects import TOKEN_RULE, BadToken, token

JOINED_RULE = "must be a session id: 3 to 129 characters of A-Z, a-z, 0-9, _ and -"
_JOINED = re.compile(r"[A-Za-z0-9_-]{3,129}")


def _text(value: object) -> str:
    # JSON's true is no number, though Python's is.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("bad_id", "must be text or a whole number")
    return str(value)


def _token(value: object) -> str:
    try:
        return token(_text(value))
    except BadToken:
        raise PydanticCustomError("bad_id", f"must be {TOKEN_RULE}") from None


def is_joined(text: str) -> bool:
    """Tell whether a text may be a session id as clients see it."""
    return _JOINED.fullmatch(text) is not None


def _joined(value: object) -> str:
    text = _text(value)
    if not is_joined(text):
        raise PydanticCustomError("bad_id", JOINED_RULE)
    return text


Id = Annotated[
    str,
    BeforeValidator(_token, json_schema_input_type=str | int),
    Field(description=f"Text or a whole number: {TOKEN_RULE}.", examples=["user-1"]),
]
SessionKey = Annotated[
    str,
    BeforeValidator(_joined, json_schema_input_type=str | int),
    Field(description="`<userId>-<plubotId>`", examples=["user-1-bot-1"]),
]
