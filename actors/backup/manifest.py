"""What a backup says of itself: its version, its parts, and the hash of each."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel, ConfigDict

from actors.backup.streams import Description

FORMAT = 1
"""Of the file. One that is newer than this is refused; older ones are read for ever."""

SOFTWARE = version("wa-sessions")


class Part(BaseModel):
    """One part of the file. A stream's comes with what the broker says of it."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sha256: str
    stream: Description | None = None


class Version(BaseModel):
    """Which form a backup has, and who made it."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    software: str = SOFTWARE


class Manifest(Version):
    """The last part of the file: who has it has all of it."""

    broker: str
    """The version of the nats-server that made the copies."""
    made: datetime
    mode: Literal["live", "sandbox"]
    parts: tuple[Part, ...]

    def named(self, folder: str) -> list[Part]:
        """List the parts below a folder of the file."""
        return [part for part in self.parts if part.name.startswith(f"{folder}/")]
