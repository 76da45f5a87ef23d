"""`wa vault` without a service: what lies on the disk is listed, verified, carried and re-keyed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.machine.ports import free_port
from actors.vault.__main__ import main
from actors.vault.keys import Keys
from actors.vault.shelves import DiskShelf
from actors.vault.vault import Vault
from events.settings import Settings
from events.subjects import SessionId

ANN = SessionId("ann", "bot")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A vault with two snapshots of one session, and no Redis."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(free_port()))
    settings = Settings(_env_file=None)
    fill(settings)
    return settings


def fill(settings: Settings) -> None:
    profile = settings.profiles / ANN.dotted
    profile.mkdir(parents=True)
    (profile / "file").write_text("x")
    vault = Vault((shelf(settings),), lambda: Keys.open(settings), 1)
    for newest in (0, 1):
        asyncio.run(vault.save(ANN, profile, newest, NOW))


def shelf(settings: Settings) -> DiskShelf:
    return DiskShelf(settings.vault, keep=3)


def touch_newest(settings: Settings) -> None:
    path = max((settings.vault / ANN.dotted).iterdir())
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.usefixtures("settings")
def test_snapshots_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0

    out, err = capsys.readouterr()
    assert out.count("ann.bot") == 2
    assert "without Redis" in err


def test_one_that_does_not_open_is_named_and_is_the_status(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify"]) == 0
    touch_newest(settings)

    assert main(["verify"]) == 1

    assert "cut short" in capsys.readouterr().out


@pytest.mark.usefixtures("settings")
def test_a_terminal_sees_how_far_it_is_and_a_pipe_only_what_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify"]) == 0
    piped = capsys.readouterr()
    monkeypatch.setenv("FORCE_COLOR", "1")  # As on a terminal.
    assert main(["verify"]) == 0
    watched = capsys.readouterr()

    assert "2/2" in watched.err
    assert "2/2" not in piped.err
    assert "2/2" not in piped.out + watched.out


def test_a_link_is_carried_from_one_vault_to_another(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "ann.snapshot"

    assert main(["export", "ann.bot", str(file)]) == 0
    asyncio.run(shelf(settings).forget(ANN))
    assert main(["import", "ann.bot", str(file)]) == 0

    assert asyncio.run(shelf(settings).generations(ANN)) == [2]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("settings")
def test_a_file_that_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "there"
    file.write_text("mine")

    assert main(["export", "ann.bot", str(file)]) == 1

    assert file.read_text() == "mine"
    assert "there" in capsys.readouterr().err


def test_what_is_no_snapshot_is_not_taken_in(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "note.txt"
    file.write_text("no snapshot, whatever it is called" * 10)

    assert main(["import", "ann.bot", str(file)]) == 1

    assert "does not begin as a snapshot does" in capsys.readouterr().err
    assert asyncio.run(shelf(settings).generations(ANN)) == [2, 1]


@pytest.mark.usefixtures("settings")
def test_a_session_without_a_snapshot_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "ben.bot", str(tmp_path / "file")]) == 1

    assert "ben.bot" in capsys.readouterr().err


def test_rotating_seals_everything_with_a_new_key(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Keys.open(settings).first.id.hex()

    assert main(["rotate"]) == 0
    assert main(["verify"]) == 0

    out = capsys.readouterr().out
    assert "2 snapshots sealed anew" in out
    assert old not in out


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("session", ["ann", "ann.", "a*.bot"])
def test_what_is_no_session_is_refused(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", session, "file"])

    assert "invalid" in capsys.readouterr().err
