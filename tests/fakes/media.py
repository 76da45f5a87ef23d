"""The object store in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase

from events.media import CHUNK, Held, MediaAway, MediaGone
from events.subjects import SessionId


@dataclass
class FakeMedia:
    """See events.media.MediaStore. `away` takes it away; `mistake` is raised by every call."""

    away: bool = False
    mistake: Exception | None = None
    objects: dict[str, tuple[bytes, str, str | None]] = field(default_factory=dict)

    async def put(
        self, name: str, content: bytes | BufferedIOBase, mime: str, file_name: str | None
    ) -> Held:
        """See events.media.MediaStore."""
        self._reach()
        whole = content if isinstance(content, bytes) else content.read()
        self.objects[name] = (whole, mime, file_name)
        return await self.get(name)

    async def get(self, name: str) -> Held:
        """See events.media.MediaStore."""
        self._reach()
        if name not in self.objects:
            raise MediaGone(name)
        content, mime, file_name = self.objects[name]
        digest = hashlib.sha256(content).hexdigest()
        return Held(mime, file_name, len(content), digest, _chunks(content))

    async def names(self, session: SessionId) -> list[str]:
        """See events.media.MediaStore."""
        self._reach()
        return [name for name in self.objects if name.startswith(f"{session.dotted}/")]

    async def forget(self, names: Sequence[str]) -> None:
        """See events.media.MediaStore."""
        self._reach()
        for name in names:
            self.objects.pop(name, None)

    def _reach(self) -> None:
        if self.mistake is not None:
            raise self.mistake
        if self.away:
            raise MediaAway


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
