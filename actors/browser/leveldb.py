"""LevelDB's logs as a killed browser leaves them, and mended before the next one reads them.

A record is written in two calls: its header, then its bytes. Between them a kill
leaves a header alone at the end of the file. The next Chromium passes over it and,
since it goes on in the same file, writes behind it; the one after that finds a
record that makes no sense, drops the database without a word, and the link with it.
Cut off in time, nothing is lost: what was being written was never confirmed.

The format: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import struct
from pathlib import Path

BLOCK = 32_768
"""Bytes; no record's fragment crosses the border between two blocks."""

_DATABASES = ("Default/IndexedDB/*.leveldb", "Default/Local Storage/leveldb")
# The manifest is a log too, and written on in the same way.
_LOGS = ("*.log", "MANIFEST-*")

_HEADER = struct.Struct("<IHB")
"""Checksum, length, type."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def mend(profile: Path) -> list[str]:
    """Cut off what a kill left half-written; names the files that were cut.

    For a profile whose lock is held and on which no browser runs. Blocks: some
    milliseconds for each megabyte of logs. Raises OSError.
    """
    return [
        file.name
        for databases in _DATABASES
        for database in profile.glob(databases)
        for logs in _LOGS
        for file in database.glob(logs)
        if _mend(file)
    ]


def _mend(file: Path) -> bool:
    log = file.read_bytes()
    end = torn_at(log)
    if end is None:
        return False
    with file.open("r+b") as opened:
        opened.truncate(end)
    return True


def torn_at(log: bytes) -> int | None:
    """Return where the record begins that a log breaks off in; None if there is none.

    A log that is damaged before its end has none either: a cut would lose what follows.
    """
    at = end = 0
    begun = False
    while at < len(log):
        left = BLOCK - at % BLOCK
        if left < _HEADER.size:
            at += left  # The trailer of a block, too short for a header.
            continue
        if at + _HEADER.size > len(log):
            return end
        _, length, kind = _HEADER.unpack_from(log, at)
        follows = kind in (_MIDDLE, _LAST)
        if not _FULL <= kind <= _LAST or follows is not begun or length > left - _HEADER.size:
            return None
        at += _HEADER.size + length
        if at > len(log):
            return end
        begun = kind in (_FIRST, _MIDDLE)
        if not begun:
            end = at
    return end if begun else None
