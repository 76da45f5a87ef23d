"""Files on their way in: what they are, whether they may be sent, and where they are put."""

from __future__ import annotations

from io import BufferedIOBase
from typing import cast

from starlette.datastructures import UploadFile

from events.content import Media, MediaKind, file_name
from events.media import JetStreamMedia, MediaAway, outgoing
from events.settings import Settings
from events.subjects import SessionId
from gateway.broker import Broker, BrokerAway
from gateway.downloads import too_large
from gateway.problems import Problem

_UNKNOWN = "application/octet-stream"
_HEAD = 40
"""Bytes that tell a file's type."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftyp", "video/mp4"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"\x7fELF", "application/x-executable"),
)
# Files of these kinds begin like others: Office's are archives, and a sound may be in MP4 or Ogg.
_ALIKE = {"video/mp4": ("audio/", "video/"), "audio/ogg": ("audio/", "video/")}


def type_of(head: bytes, told: str | None) -> str:
    """Name a file's type: what its first bytes show goes before what was told of it."""
    said = (told or "").partition(";")[0].strip().lower() or _UNKNOWN
    for place, magic, mime in _MAGIC:
        if head[place : place + len(magic)] == magic:
            if mime == "audio/ogg" and head[28:36] == b"OpusHead":
                # A voice note, and WhatsApp's own clients always tell its codec.
                return "audio/ogg; codecs=opus"
            return said if said.startswith(_ALIKE.get(mime, (mime,))) else mime
    return said


def kind_of(mime: str) -> MediaKind:
    """Choose how a file is sent when nobody says it."""
    match mime.partition("/")[0]:
        case "image":
            return "image"
        case "video":
            return "video"
        case "audio":
            return "audio"
        case _:
            return "document"


class Uploads:
    """Checks files and keeps them until they are sent."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.largest = settings.media_max_mb * 1_048_576
        self._types = tuple(word.strip().lower() for word in settings.media_types.split(","))
        self._store = JetStreamMedia(lambda: broker.jetstream)

    @property
    def store(self) -> JetStreamMedia:
        """Where files are kept."""
        return self._store

    async def keep(self, session: SessionId, file: UploadFile, kind: MediaKind | None) -> Media:
        """Keep a file; raises Problem 400 for its type, 413 for its size, and BrokerAway."""
        if (file.size or 0) > self.largest:
            raise too_large(self.largest)
        head = await file.read(_HEAD)
        await file.seek(0)
        if not head:
            raise Problem(400, "bad_input", "file must not be empty.")
        mime = type_of(head, file.content_type)
        if not self._allowed(mime):
            raise Problem(400, "media_type", f"file is of a type that is not sent here: {mime}.")
        named, name = file_name(file.filename), outgoing(session)
        try:
            held = await self._store.put(name, cast("BufferedIOBase", file.file), mime, named)
        except MediaAway as error:
            raise BrokerAway from error
        return Media(
            kind=kind or kind_of(mime),
            object=name,
            mime=mime,
            size=held.size,
            sha256=held.sha256,
            name=named,
        )

    def _allowed(self, mime: str) -> bool:
        plain = mime.partition(";")[0]
        return len(mime) <= 200 and any(
            plain == word or (word.endswith("*") and plain.startswith(word[:-1]))
            for word in self._types
        )
