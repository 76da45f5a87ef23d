"""The wrapper of everything on the wire: CloudEvents 1.0, structured JSON.

Extensions: `causationid` is the command or event that led here (also the
trace), `node` who wrote it, `version` 1, 2, 3… for each session and family,
so that a hole shows. Names are lower case letters, as CloudEvents demands.
"""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, field_validator


class Payload(BaseModel):
    """Base of every event, command and notice: frozen, and deaf to fields it does not know.

    Unknown fields are ignored, since a change is additive within a version.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _whole_characters(cls, value: object) -> object:
        # JavaScript cuts strings between the halves of an emoji, JSON carries the
        # half, and no UTF-8 can: the event could be made, and never be written.
        if isinstance(value, str) and not value.isascii():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value


class Envelope(BaseModel):
    """A CloudEvent as it stands on the wire; `data` is the payload as JSON."""

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: str = Field(min_length=1)
    subject: str
    # A time without a zone cannot be compared with ours: it is refused, not guessed.
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, JsonValue]
    causationid: str | None = None
    node: str | None = None
    version: int | None = None


def new_id() -> str:
    """Mint an id. Event ids are minted for each append, never derived from a command."""
    return uuid4().hex
