"""The file of a backup: a tar whose last member says what the others must be.

The manifest comes last since only then it is known; a file that was cut short has none.
Parts are spooled beside it one at a time, because a tar says a member's size before
the member.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import ValidationError

from actors.backup.manifest import FORMAT, Manifest, Part, Version
from actors.backup.streams import Description

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 64_000_000
_PIECE = 128 * 1_024

Progress = Callable[[int], None]
"""Told how many bytes more are done."""


class NotABackup(Exception):
    """The file is no backup, is not whole, or was changed since. Says what is wrong with it."""


class Draft:
    """A backup that is being written. Nothing has its name before it is whole and verified."""

    def __init__(self, path: Path) -> None:
        """Raises FileExistsError: a backup is never written over anything."""
        if path.exists():
            raise FileExistsError(17, "there is a file already; name another one", str(path))
        self._path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._spool = self._draft.with_suffix(".part")
        self._parts: list[Part] = []
        self._file = _private(self._draft)
        # One that is abandoned holds nothing but the file, and __exit__ closes that.
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by finish

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        for leftover in (self._draft, self._spool):
            leftover.unlink(missing_ok=True)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is in there so far."""
        return tuple(self._parts)

    def add(self, name: str, data: bytes) -> None:
        """Add a small part."""
        self._tar.addfile(_member(name, len(data)), io.BytesIO(data))
        self._parts.append(Part(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()))

    @contextlib.contextmanager
    def spool(self) -> Generator[Spool]:
        """Take a part whose size is not known yet."""
        with _private(self._spool) as file:
            try:
                yield Spool(file)
            finally:
                self._spool.unlink()

    def add_spooled(self, name: str, spooled: Spool, stream: Description | None = None) -> None:
        """Add a part that was spooled."""
        size, digest = spooled.rewound()
        self._tar.addfile(_member(name, size), spooled.file)
        self._parts.append(Part(name=name, size=size, sha256=digest, stream=stream))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, read all of it back, and only then give the file its name.

        Raises NotABackup if what was read is not what was written.
        """
        told = manifest.model_dump_json(indent=1).encode()
        self._tar.addfile(_member(MANIFEST, len(told)), io.BytesIO(told))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        with Backup(self._draft) as written:
            written.verify()
        self._draft.rename(self._path)


class Spool:
    """A part on its way into the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._digest.update(data)
        self.file.write(data)

    def rewound(self) -> tuple[int, str]:
        """Go back to the front; return size and hash."""
        size = self.file.tell()
        self.file.seek(0)
        return size, self._digest.hexdigest()


class Backup:
    """A backup to read from."""

    def __init__(self, path: Path) -> None:
        """Read what the file says of itself. Raises NotABackup, and OSError if it is not there."""
        self._path = path
        try:
            self._tar = tarfile.open(path, mode="r:")  # noqa: SIM115 - closed by __exit__
        except (tarfile.TarError, EOFError) as error:
            raise NotABackup(f"{path} is no backup: {error}") from None
        try:
            self._members = self._tar.getmembers()
            self.manifest = self._manifest()
        except (tarfile.TarError, EOFError) as error:
            self._tar.close()
            raise NotABackup(f"{path} is not whole: {error}") from None
        except NotABackup:
            self._tar.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tar.close()

    def verify(self, progress: Progress = lambda _: None) -> None:
        """Read every part and compare its hash; raises NotABackup."""
        said = [(part.name, part.size) for part in self.manifest.parts]
        held = [(member.name, member.size) for member in self._members[:-1]]
        if said != held or not all(member.isreg() for member in self._members):
            raise NotABackup(f"{self._path} does not hold what it says it holds")
        for part in self.manifest.parts:
            digest = hashlib.sha256()
            for piece in self.pieces(part):
                digest.update(piece)
                progress(len(piece))
            if digest.hexdigest() != part.sha256:
                raise NotABackup(f"{self._path} was changed since it was made: {part.name}")

    def pieces(self, part: Part) -> Iterator[bytes]:
        """Read a part, a piece at a time; raises NotABackup."""
        try:
            file = self._tar.extractfile(part.name)
            while file is not None and (piece := file.read(_PIECE)):
                yield piece
        except (tarfile.TarError, EOFError, KeyError) as error:
            raise NotABackup(f"{self._path} is not whole: {part.name}: {error}") from None

    def _manifest(self) -> Manifest:
        last = self._members[-1] if self._members else None
        if last is None or last.name != MANIFEST or last.size > _LARGEST_MANIFEST:
            raise NotABackup(f"{self._path} is no backup, or only the front of one")
        file = self._tar.extractfile(last)
        raw = b"" if file is None else file.read()
        try:
            # A newer form may look different in everything but these two.
            version = Version.model_validate_json(raw)
            if version.format > FORMAT:
                raise NotABackup(
                    f"{self._path} was made by wa-sessions {version.software} in format "
                    f"{version.format}, this one reads up to {FORMAT}: use that version"
                )
            return Manifest.model_validate_json(raw)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise NotABackup(f"{self._path}: its manifest cannot be read: {where}") from None


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _private(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
