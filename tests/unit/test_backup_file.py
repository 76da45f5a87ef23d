"""The file of a backup: whole, the owner's alone, and refused when it is anything else."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.backup.file import MANIFEST, Backup, Draft, NotABackup
from actors.backup.manifest import FORMAT, Manifest
from actors.backup.streams import Description

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STREAM = b"what the broker made of it" * 1_000
Damage = Callable[[bytes], bytes]


def made(path: Path) -> Path:
    """A backup with one stream and one key."""
    with Draft(path) as draft:
        with draft.spool() as spooled:
            spooled.write(STREAM[:700])
            spooled.write(STREAM[700:])
            described = Description(config={}, state={"messages": 3, "last_seq": 7})
            draft.add_spooled("streams/WA_EVT", spooled, described)
        draft.add("files/api-key", b"key")
        draft.finish(Manifest(broker="2.15.1", made=NOW, mode="live", parts=draft.parts))
    return path


def verify(path: Path) -> None:
    with Backup(path) as backup:
        backup.verify()


def test_what_was_written_is_read_and_is_the_owners_alone(tmp_path: Path) -> None:
    file = made(tmp_path / "backup")

    with Backup(file) as backup:
        backup.verify()
        held = {part.name: b"".join(backup.pieces(part)) for part in backup.manifest.parts}
        (described,) = (part.stream for part in backup.manifest.parts if part.stream)

    assert held == {"streams/WA_EVT": STREAM, "files/api-key": b"key"}
    assert (described.messages, described.last) == (3, 7)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_text("dear to somebody")

    with pytest.raises(FileExistsError):
        Draft(file)

    assert file.read_text() == "dear to somebody"


def test_one_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with Draft(tmp_path / "backup") as draft, draft.spool() as spooled:
            spooled.write(STREAM)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        break_off()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: b"#!/bin/sh\n" * 100, id="another file"),
        pytest.param(lambda raw: raw[:10_000], id="cut in a part"),
        pytest.param(lambda raw: raw[: raw.index(b"files/api-key")], id="cut between parts"),
        pytest.param(lambda raw: raw[: raw.index(b'"format"') + 40], id="cut in the manifest"),
        pytest.param(lambda raw: raw.replace(b"the broker", b"the Broker", 1), id="a byte"),
        pytest.param(lambda raw: raw.replace(b"key\0", b"kez\0", 1), id="a key"),
        pytest.param(lambda raw: raw.replace(b"api-key", b"api_key", 1), id="a name"),
    ],
)
def test_one_that_is_not_as_it_was_made_is_refused(tmp_path: Path, damage: Damage) -> None:
    file = made(tmp_path / "backup")
    raw = file.read_bytes()
    assert damage(raw) != raw
    file.write_bytes(damage(raw))

    with pytest.raises(NotABackup):
        verify(file)


def test_every_byte_of_every_part_counts(tmp_path: Path) -> None:
    file = made(tmp_path / "backup")
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        parts = [member for member in tar.getmembers() if member.name != MANIFEST]

    for member in parts:
        for at in (0, member.size // 2, member.size - 1):
            changed = bytearray(raw)
            changed[member.offset_data + at] ^= 1
            file.write_bytes(changed)

            with pytest.raises(NotABackup, match=member.name):
                verify(file)


def test_a_part_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path / "backup")
    with tarfile.open(file) as tar, tarfile.open(tmp_path / "more", "w") as more:
        for member in tar.getmembers():
            if member.name == MANIFEST:
                extra = tarfile.TarInfo("files/../../escaped")
                extra.size = 1
                more.addfile(extra, io.BytesIO(b"x"))
            more.addfile(member, tar.extractfile(member))

    with pytest.raises(NotABackup, match="does not hold what it says"):
        verify(tmp_path / "more")


def test_a_newer_form_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    newer = f'{{"format": {FORMAT + 1}, "software": "9.9.9", "parts": "somewhere else"}}'.encode()
    with tarfile.open(tmp_path / "backup", "w") as tar:
        member = tarfile.TarInfo(MANIFEST)
        member.size = len(newer)
        tar.addfile(member, io.BytesIO(newer))

    with pytest.raises(NotABackup, match=r"made by wa-sessions 9\.9\.9"):
        Backup(tmp_path / "backup")
