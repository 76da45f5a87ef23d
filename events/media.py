"""Media: bytes in the broker's object store, which events only name.

Objects are read by asking for one chunk after the other, not through a consumer:
the roles that read need no right to make one, and a reader that went away leaves
nothing behind. 16 MB are 128 chunks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Protocol

from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import ObjectMeta, ObjectMetaOptions

from events import subjects
from events.connection import AWAY
from events.envelope import new_id
from events.subjects import SessionId

CHUNK = 131_072
"""Bytes of a chunk, as other clients of the object store make them."""

PATIENCE = 10.0
"""Seconds that one request to the store may take."""

_STREAM = f"OBJ_{subjects.MEDIA}"


class MediaGone(Exception):
    """There is no such object: it was never kept, it expired, or its session was deleted."""


class MediaAway(Exception):
    """The object store cannot be reached."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object, and how to read it. `size` is in bytes; `sha256` in hex is of the content."""

    mime: str
    name: str | None
    size: int
    sha256: str
    chunks: AsyncIterator[bytes]

    async def whole(self) -> bytes:
        """Read it to its end; raises MediaGone and MediaAway."""
        return b"".join([chunk async for chunk in self.chunks])


class MediaStore(Protocol):
    """Where bytes are kept for a while. Two versions: JetStream, and the tests' dictionary."""

    async def put(
        self, name: str, content: bytes | BufferedIOBase, mime: str, file_name: str | None
    ) -> Held:
        """Keep bytes under a name; raises MediaAway."""
        ...

    async def get(self, name: str) -> Held:
        """Look an object up; raises MediaGone and MediaAway."""
        ...

    async def names(self, session: SessionId) -> list[str]:
        """List every object of a session; raises MediaAway."""
        ...

    async def forget(self, names: Sequence[str]) -> None:
        """Delete objects; those that are gone are no error. Raises MediaAway."""
        ...


def incoming(session: SessionId, wa_id: str) -> str:
    """Name the object of a received message's media."""
    return f"{session.dotted}/in/{wa_id}"


def outgoing(session: SessionId, file: str | None = None) -> str:
    """Name the object of media that is to be sent, under a new id if none is given."""
    return f"{session.dotted}/out/{file or new_id()}"


class JetStreamMedia:
    """See MediaStore. `js` is asked for the connection each time: it may be a new one."""

    def __init__(self, js: Callable[[], JetStreamContext]) -> None:
        self._js = js

    async def put(
        self, name: str, content: bytes | BufferedIOBase, mime: str, file_name: str | None
    ) -> Held:
        """See MediaStore.put."""
        about = ObjectMeta(
            name=name,
            headers={"Content-Type": [mime], "File-Name": [file_name or ""]},
            options=ObjectMetaOptions(max_chunk_size=CHUNK),
        )
        try:
            store = await self._js().object_store(subjects.MEDIA)
            # nats-py calls what it reads from an io.BufferedIOBase, and means the same.
            await store.put(name, content, about)  # pyright: ignore[reportArgumentType]
        except AWAY as error:
            raise MediaAway from error
        return await self.get(name)

    async def get(self, name: str) -> Held:
        """See MediaStore.get."""
        word = base64.urlsafe_b64encode(name.encode()).decode()
        raw = await self._last(f"$O.{subjects.MEDIA}.M.{word}")
        about = json.loads(raw)
        if about.get("deleted"):
            raise MediaGone(name)
        headers: dict[str, list[str]] = about.get("headers") or {}
        digest = str(about.get("digest", "")).partition("=")[2]
        return Held(
            mime=headers.get("Content-Type", ["application/octet-stream"])[0],
            name=headers.get("File-Name", [""])[0] or None,
            size=int(about["size"]),
            sha256=base64.urlsafe_b64decode(digest).hex(),
            chunks=self._chunks(str(about["nuid"]), int(about["size"])),
        )

    async def _last(self, subject: str) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE):
                return (await self._js().get_last_msg(_STREAM, subject)).data or b""
        except js_errors.NotFoundError:
            raise MediaGone(subject) from None
        except AWAY as error:
            raise MediaAway from error

    async def _chunks(self, nuid: str, size: int) -> AsyncIterator[bytes]:
        position, read = 1, 0
        while read < size:
            try:
                async with asyncio.timeout(PATIENCE):
                    held = await self._js().get_msg(
                        _STREAM, seq=position, subject=f"$O.{subjects.MEDIA}.C.{nuid}", next=True
                    )
            except js_errors.NotFoundError:
                raise MediaGone(nuid) from None
            except AWAY as error:
                raise MediaAway from error
            chunk = held.data or b""
            position, read = (held.seq or position) + 1, read + len(chunk)
            yield chunk

    async def names(self, session: SessionId) -> list[str]:
        """See MediaStore.names."""
        prefix = f"{session.dotted}/"
        try:
            store = await self._js().object_store(subjects.MEDIA)
            async with asyncio.timeout(6 * PATIENCE):
                held = await store.list(ignore_deletes=True)
        except js_errors.NotFoundError:
            return []  # None at all.
        except AWAY as error:
            raise MediaAway from error
        return [each.name for each in held if each.name.startswith(prefix) and not each.deleted]

    async def forget(self, names: Sequence[str]) -> None:
        """See MediaStore.forget."""
        try:
            store = await self._js().object_store(subjects.MEDIA)
            async with asyncio.timeout(6 * PATIENCE):
                for name in names:
                    with contextlib.suppress(js_errors.NotFoundError):
                        await store.delete(name)
        except AWAY as error:
            raise MediaAway from error
