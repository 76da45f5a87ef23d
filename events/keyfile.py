"""Keys that are made at the first start and kept in a file of the owner's alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger()


def kept(path: Path, make: Callable[[], str]) -> str:
    """Return the key in a file, which is made if it is not there; raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is made whole or not at all, and never over another one: of
        # two processes that start together both read the key of the first.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
            log.info("auth.key_made", file=path.name)
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> str:
    key = path.read_text().strip()
    if not key:
        raise FileNotFoundError(path)
    return key
