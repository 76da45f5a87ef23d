"""What a message may hold besides text: a place, a contact, a reaction, a deletion, media.

Events never carry bytes. Media lies in the object store (`events/media.py`) and is
named here by its object.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from events.envelope import Payload

MessageId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9@._:-]+$")]
"""A message of a chat: its bare WhatsApp id, or the full one (`<fromMe>_<remote>_<id>…`)."""

MediaKind = Literal["image", "video", "audio", "voice", "document"]


class Location(Payload):
    """A place, in degrees."""

    type: Literal["location"] = "location"
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    name: str = Field("", max_length=1_000)
    address: str = Field("", max_length=1_000)


class Contact(Payload):
    """A contact card; `phone` is the chat id behind it (`…@c.us`)."""

    type: Literal["contact"] = "contact"
    name: str = Field(min_length=1, max_length=200)
    phone: str = Field(pattern=r"^[0-9]{5,20}@c\.us$")


class Reaction(Payload):
    """A reaction to the message `target`; an empty emoji takes it back."""

    type: Literal["reaction"] = "reaction"
    target: MessageId
    emoji: str = Field(max_length=32)


class Deletion(Payload):
    """Delete the message `target` for everyone."""

    type: Literal["deletion"] = "deletion"
    target: MessageId


class Media(Payload):
    """A file. `object` is its name in the object store, `size` in bytes, `sha256` in hex."""

    type: Literal["media"] = "media"
    kind: MediaKind
    object: str = Field(min_length=1, max_length=400)
    mime: str = Field(min_length=1, max_length=200)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str | None = Field(None, max_length=255)


Content = Location | Contact | Reaction | Deletion | Media


_UNFIT = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def file_name(given: str | None) -> str | None:
    """Return a name that is no path and hides nothing, at most 200 characters; None for none.

    Control characters go, and those that turn the direction of writing, which make
    `photo_gpj.exe` look like a picture.
    """
    last = re.split(r"[/\\]", _UNFIT.sub("", given or ""))[-1].strip().lstrip(".")
    stem, dot, ending = last.rpartition(".")
    if len(last) > 200:
        last = f"{stem[: 199 - len(ending)]}{dot}{ending}" if len(ending) < 20 else last[:200]
    return last or None


class Kept(Payload):
    """What is known of media that came in, and where it is kept or why it is not.

    `object` is its name in the object store; without it `reason` is a stable word:
    "too_large", "not_found", "timeout", "page_gone", "store_away", "failed".
    `size` in bytes and `sha256` in hex are of the bytes as kept, else WhatsApp's own word.
    """

    mime: str
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    object: str | None = None
    reason: str | None = None
