"""Bars of what takes long: on a terminal, and nowhere else."""

from __future__ import annotations

import pytest

from events.bar import bar


def test_a_terminal_sees_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    with bar("restore", "bytes") as advance:
        advance(1_500_000, 3_000_000)
    with bar("drain") as advance:
        advance(3, 4)

    out, err = capsys.readouterr()
    assert "1.5/3.0 MB" in err
    assert "3/4" in err
    assert out == ""


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("drain") as advance:
        advance(3, 4)

    assert capsys.readouterr() == ("", "")
