"""Logs of LevelDB that a kill broke off."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.browser.leveldb import BLOCK, mend, torn_at

HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def written(records: list[bytes], before: bytes = b"") -> tuple[bytes, list[int]]:
    """Write records as LevelDB does, behind what is there; tells where each one ends."""
    log, ends = bytearray(before), list[int]()
    for record in records:
        rest, first = record, True
        while True:
            left = BLOCK - len(log) % BLOCK
            if left < HEADER:
                log += bytes(left)
                left = BLOCK
            piece, rest = rest[: left - HEADER], rest[left - HEADER :]
            kind = (FULL if first else LAST) if not rest else (FIRST if first else MIDDLE)
            log += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
            if not rest:
                break
        ends.append(len(log))
    return bytes(log), ends


sizes = st.one_of(st.integers(0, 200), st.integers(BLOCK - 20, BLOCK + 20), st.just(3 * BLOCK))
record_lists = st.lists(sizes.map(bytes), max_size=6)


@given(record_lists)
def test_a_whole_log_is_left_alone(records: list[bytes]) -> None:
    log, _ = written(records)

    assert torn_at(log) is None


@given(record_lists, st.data())
def test_a_log_that_breaks_off_ends_with_its_last_whole_record(
    records: list[bytes], data: st.DataObject
) -> None:
    log, ends = written(records)
    size = data.draw(st.integers(0, len(log)))
    whole = max((end for end in ends if end <= size), default=0)

    end = torn_at(log[:size])

    # What a block has no room for at its end is no beginning of a record.
    padding = size - whole < HEADER and size % BLOCK in (0, *range(BLOCK - HEADER + 1, BLOCK))
    assert end == (None if size == whole or padding else whole)


@given(record_lists, record_lists, st.data())
def test_what_is_written_behind_a_mended_log_can_be_read(
    before: list[bytes], after: list[bytes], data: st.DataObject
) -> None:
    log, _ = written(before)
    broken = log[: data.draw(st.integers(0, len(log)))]
    end = torn_at(broken)

    longer, _ = written(after, before=broken if end is None else broken[:end])

    assert torn_at(longer) is None


def test_a_log_that_is_damaged_before_its_end_is_not_cut() -> None:
    whole, _ = written([b"a" * 100])
    header_alone = struct.pack("<IHB", 0, 300, FULL)
    damaged, _ = written([b"b" * 100] * 5, before=whole + header_alone)

    assert torn_at(damaged) is None


@pytest.mark.parametrize("log", ["000003.log", "MANIFEST-000001"])
@pytest.mark.parametrize(
    "database", ["IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb", "Local Storage/leveldb"]
)
def test_the_logs_of_a_profile_are_cut(tmp_path: Path, database: str, log: str) -> None:
    folder = tmp_path / "Default" / database
    folder.mkdir(parents=True)
    whole, _ = written([b"a" * 100, b"b" * 50_000])
    (folder / log).write_bytes(whole + struct.pack("<IHB", 0, 300, FULL))
    (folder / "000005.ldb").write_bytes(b"\0")

    assert mend(tmp_path) == [log]

    assert (folder / log).read_bytes() == whole
    assert mend(tmp_path) == []


def test_a_profile_without_databases_has_nothing_to_mend(tmp_path: Path) -> None:
    assert mend(tmp_path) == []
