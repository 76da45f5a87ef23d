"""A profile folder as bytes, without what the browser can make or fetch again."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from actors.browser.profile import LOCK, RECORD

LEFT_OUT = frozenset(
    {
        *("cache", "tmp", "Cache", "Code Cache", "GPUCache", "GrShaderCache", "ShaderCache"),
        *("DawnGraphiteCache", "DawnWebGPUCache", "GraphiteDawnCache", "Shared Dictionary"),
        *("Service Worker", "Crashpad", "blob_storage", "DevToolsActivePort"),
        *("SingletonLock", "SingletonSocket", "SingletonCookie", LOCK, RECORD),
    }
)
"""Folders and files that are no part of a link: caches, locks, notes on a process."""

LEVEL = 6


class TooLarge(Exception):
    """A profile without its caches is larger than may be kept."""

    def __init__(self, size: int, largest: int) -> None:
        super().__init__(
            f"the profile is {size} bytes without its caches and VAULT_MAX_MB allows {largest}"
        )


class Unpackable(Exception):
    """The bytes are no profile."""


def pack(profile: Path, largest: int) -> bytes:
    """Return a folder as a compressed archive; raises TooLarge (bytes before compression)."""
    packed, size = io.BytesIO(), 0
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=LEVEL) as archive:
        for path in _kept(profile):
            size += path.stat().st_size if path.is_file() else 0
            if size > largest:
                raise TooLarge(size, largest)
            archive.add(path, str(path.relative_to(profile)), recursive=False)
    return packed.getvalue()


def copy(profile: Path, into: Path) -> None:
    """Copy what belongs to a link into a new folder, which is quick: nothing is compressed."""
    into.mkdir(mode=0o700, parents=True)
    for path in _kept(profile):
        target = into / path.relative_to(profile)
        if path.is_dir():
            target.mkdir(mode=0o700, exist_ok=True)
        else:
            shutil.copyfile(path, target)


def unpack(packed: bytes, into: Path) -> None:
    """Make a folder from an archive, whole or not at all; raises Unpackable and OSError.

    Written beside its place and on the disk before it takes the name, so that
    neither a crash nor a full disk leaves half a profile that looks like one.
    """
    try:
        plain = gzip.decompress(packed)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Unpackable(f"{type(error).__name__}: {error}") from None
    draft = into.with_name(f"{into.name}.draft")
    remove(draft)
    draft.mkdir(mode=0o700, parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            archive.extractall(draft, filter="data")
        for path in draft.rglob("*"):
            _sync(path)
        _sync(draft)
        draft.rename(into)
        _sync(into.parent)
    except tarfile.TarError as error:
        raise Unpackable(f"{type(error).__name__}: {error}") from None
    finally:
        remove(draft)


def remove(folder: Path) -> None:
    """Remove a folder and what is in it; one that is not there is no error. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)


def _kept(folder: Path) -> Iterator[Path]:
    """Yield folders before what is in them; neither links nor sockets."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in LEFT_OUT:
            continue
        kind = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISREG(kind):
            yield Path(entry.path)
        elif stat.S_ISDIR(kind):
            yield Path(entry.path)
            yield from _kept(Path(entry.path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
