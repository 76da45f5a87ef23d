"""Whom a request means, as fields of bodies and paths: checked, and described in the document."""

from __future__ import annotations

import contextlib
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from gateway import recipients
from gateway.ids import text


def _chat(value: object) -> str:
    try:
        return recipients.chat_id(text(value))
    except recipients.BadRecipient as error:
        raise PydanticCustomError("bad_recipient", "{rule}", {"rule": str(error)}) from None


def _person(value: object) -> str:
    chat = _chat(value)
    if chat.endswith("@g.us"):
        raise PydanticCustomError("bad_recipient", "must be a person's id, and no group's")
    return chat


def _number(value: object) -> str:
    with contextlib.suppress(PydanticCustomError):
        chat = _chat(value)
        if chat.endswith("@c.us"):
            return chat
    raise PydanticCustomError("bad_number", "{rule}", {"rule": recipients.NUMBER_RULE})


def _described(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=f"^({pattern})$", max_length=recipients.LONGEST)


# What the document says of them; the rules themselves are above.
_Whole = Annotated[int, Field(ge=10**6, lt=10**15)]
_OfAnyone = Annotated[str, _described(recipients.ANYONE)]
_OfPerson = Annotated[str, _described(recipients.PERSON)]
_OfPhone = Annotated[str, _described(recipients.PHONE)]

To = Annotated[
    str,
    BeforeValidator(_chat, json_schema_input_type=_OfAnyone | _Whole),
    Field(description=f"Whom to send to: {recipients.RULE}.", examples=["+49 170 1234567"]),
]
Person = Annotated[
    str,
    BeforeValidator(_person, json_schema_input_type=_OfPerson | _Whole),
    Field(description="A phone number, or either id of a person.", examples=["491701234567@c.us"]),
]
"""A chat id that is no group's."""
Phone = Annotated[
    str,
    BeforeValidator(_number, json_schema_input_type=_OfPhone | _Whole),
    Field(description=f"A phone: {recipients.NUMBER_RULE}.", examples=["491701234567"]),
]
"""The chat id of a phone number."""
