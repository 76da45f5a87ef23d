"""Times that clients write. A bare number is one only where it is said what it counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253_402_300_799_999
"""Milliseconds: the end of the year 9999, which is as far as a datetime goes."""
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_NUMBER = re.compile(r"[\s+-]*[\d.]+\s*")


def _written(value: object) -> object:
    # Pydantic would take a number for seconds or for milliseconds, whichever it looks like.
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        raise PydanticCustomError("bad_time", "must be a time as in 2030-01-31T12:00:00Z")
    return value


def _moment(value: object) -> object:
    if not isinstance(value, str) or not _MILLISECONDS.fullmatch(value):
        return _written(value)
    if int(value) > _LAST:
        raise PydanticCustomError("bad_time", "must be a time before the year 10000")
    return EPOCH + timedelta(milliseconds=int(value))


Written = Annotated[AwareDatetime, BeforeValidator(_written, json_schema_input_type=AwareDatetime)]
"""A time with its zone, as RFC 3339 writes it."""

_Counted = Annotated[int, Field(ge=0, le=_LAST)]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment, json_schema_input_type=AwareDatetime | _Counted),
]
"""A time with its zone, or milliseconds since 1970: for a query, where all is text."""
