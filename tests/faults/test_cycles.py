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
