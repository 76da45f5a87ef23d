"""A few cycles of `make cycles`: a session that starts and stops leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.cycles import Cycled, run


@pytest.mark.services
async def test_a_session_leaves_nothing_behind_with_a_fake_browser(tmp_path: Path) -> None:
    cycled = await run(tmp_path / "site", "fake", 20, print)

    assert cycled.left == []


def test_what_is_more_than_before_is_named() -> None:
    before = {"threads": 4, "open files": 7, "zombies": 0}

    cycled = Cycled("fake", 20, 1.0, before, before | {"zombies": 3, "open files": 6})

    assert cycled.left == ["zombies: 3, 0 before"]


def test_a_pool_may_grow_by_a_few_and_not_with_every_cycle() -> None:
    before = {"node: threads": 4, "node: open files": 7}

    grown = Cycled("fake", 20, 1.0, before, {"node: threads": 6, "node: open files": 7})
    leaking = Cycled("fake", 20, 1.0, before, {"node: threads": 24, "node: open files": 8})

    assert grown.left == []
    assert leaking.left == ["node: threads: 24, 4 before", "node: open files: 8, 7 before"]
