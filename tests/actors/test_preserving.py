"""A link is saved into the vault, and comes back when the profile is lost."""

from __future__ import annotations

import asyncio
import base64
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.browser.protocol import PageGone
from actors.preserving import FIRST
from actors.vault.keys import Keys
from actors.vault.shelves import DiskShelf, ShelfAway
from actors.vault.vault import Vault
from events import session_events as e
from events.session_events import SessionCommand
from events.subjects import SessionId
from tests.actors.world import NUMBER, World, a_world

ANN = SessionId("ann", "bot")
AFTER, INTERVAL = 30.0, 3_600.0


class SlowShelf(DiskShelf):
    """Takes nothing until it is told to go on."""

    def __init__(self, folder: Path, keep: int) -> None:
        super().__init__(folder, keep)
        self.asked, self.go_on = threading.Event(), threading.Event()

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        self.asked.set()
        await asyncio.to_thread(self.go_on.wait, 60)
        await super().put(session, generation, sealed)


class ShelfThatRefusesOnce(DiskShelf):
    """Is away when it is first given something."""

    def __init__(self, folder: Path, keep: int) -> None:
        super().__init__(folder, keep)
        self._refused = False

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        if not self._refused:
            self._refused = True
            raise ShelfAway("disk: full")
        await super().put(session, generation, sealed)


def with_shelf(world: World, shelf: DiskShelf) -> None:
    """Begin another life of the node, on another vault."""
    world.kill()
    world.vault = Vault((shelf,), lambda: Keys.open(world.settings), 10)
    world.start()


def passed(world: World, seconds: float) -> bool:
    world.advance(seconds)
    return True


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


def saved(world: World, count: int) -> SessionId:
    """Link a session and wait until its profile was saved so many times."""
    world.linked(ANN)
    for number in range(count):
        world.advance(FIRST if number == 0 else INTERVAL)
        world.wait_for(ANN, "profile_saved", number + 1)
    return ANN


def profile(world: World) -> Path:
    return world.settings.profiles / ANN.dotted


def credentials(world: World) -> Path:
    [database] = profile(world).glob("Default/IndexedDB/*")
    return database


def generations(world: World) -> list[int]:
    return asyncio.run(world.shelf.generations(ANN))


def end_and_start(world: World, lose: bool = True) -> None:
    """Kill the node, lose the profile of the session, and begin another life."""
    world.kill()
    if lose:
        shutil.rmtree(profile(world))
    world.start()


def touch(world: World, generation: int) -> None:
    """Change one byte of a snapshot."""
    path = world.settings.vault / ANN.dotted / f"{generation:08}.snapshot"
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)


# Into the vault


def test_a_link_is_saved_at_once_when_it_is_ready_and_then_at_every_interval(
    world: World,
) -> None:
    world.linked(ANN)

    world.advance(FIRST)
    world.wait_for(ANN, "profile_saved")
    world.advance(INTERVAL)
    world.wait_for(ANN, "profile_saved", 2)

    assert [event.data["generation"] for event in world.envelopes(ANN, "profile_saved")] == [1, 2]
    assert generations(world) == [2, 1]


def test_a_link_that_was_saved_before_is_saved_again_once_it_was_ready_for_a_while(
    world: World,
) -> None:
    saved(world, 1)
    end_and_start(world, lose=False)
    world.wait_for(ANN, "ready", 2)

    world.advance(AFTER)
    world.wait_for(ANN, "profile_saved", 2)


def test_what_is_recorded_is_the_size_of_what_was_kept(world: World) -> None:
    saved(world, 1)

    [event] = world.envelopes(ANN, "profile_saved")
    sealed = asyncio.run(world.shelf.get(ANN, 1))
    assert sealed is not None
    assert event.data["bytes"] == len(sealed)


def test_a_stop_saves_what_the_closed_browser_left(world: World) -> None:
    world.linked(ANN)

    world.wire.command(ANN, e.Stop())

    world.wait_for(ANN, "profile_saved")
    assert world.kinds(ANN)[-2:] == ["session.stopped", "session.profile_saved"]


def test_a_node_that_shuts_down_saves_every_link(world: World) -> None:
    world.linked(ANN)

    world.stop()

    assert world.kinds(ANN)[-2:] == ["session.queued", "session.profile_saved"]
    assert generations(world) == [1]


def test_a_session_without_a_link_is_not_saved(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    world.stop()

    assert generations(world) == []


def test_a_snapshot_that_failed_is_tried_again(world: World) -> None:
    with_shelf(world, ShelfThatRefusesOnce(world.settings.vault, keep=3))
    world.linked(ANN)

    world.advance(AFTER)

    world.until(lambda: passed(world, INTERVAL) and world.envelopes(ANN, "profile_saved"))
    assert world.word(ANN) == "ready"


def test_numbers_go_on_in_the_next_life(world: World) -> None:
    saved(world, 1)

    end_and_start(world, lose=False)
    world.wait_for(ANN, "ready", 2)
    world.advance(AFTER)
    world.wait_for(ANN, "profile_saved", 2)

    assert [event.data["generation"] for event in world.envelopes(ANN, "profile_saved")] == [1, 2]


def test_with_the_vault_switched_off_nothing_is_saved(tmp_path: Path) -> None:
    with a_world(tmp_path, vault_max_mb=0) as world:
        world.linked(ANN)

        world.advance(AFTER)
        world.stop()

        assert world.envelopes(ANN, "profile_saved") == []


# Out of the vault


def test_a_lost_profile_comes_back_without_a_scan(world: World) -> None:
    saved(world, 1)

    end_and_start(world)

    world.wait_for(ANN, "ready", 2)
    [event] = world.envelopes(ANN, "profile_restored")
    assert event.data == {"generation": 1, "source": "disk", "older": False}
    assert len(world.envelopes(ANN, "pairing")) == 1


@pytest.mark.parametrize("lost", ["CURRENT", "MANIFEST-000001"])
def test_a_profile_that_chromium_could_not_read_comes_back(world: World, lost: str) -> None:
    saved(world, 1)

    world.kill()
    (credentials(world) / lost).unlink()
    world.start()

    world.wait_for(ANN, "ready", 2)
    assert len(world.envelopes(ANN, "profile_restored")) == 1


def test_a_whole_profile_is_left_alone(world: World) -> None:
    saved(world, 1)

    end_and_start(world, lose=False)

    world.wait_for(ANN, "ready", 2)
    assert world.envelopes(ANN, "profile_restored") == []


def test_an_older_snapshot_is_taken_where_the_newest_was_touched_and_the_event_says_so(
    world: World,
) -> None:
    saved(world, 2)
    touch(world, 2)

    end_and_start(world)

    world.wait_for(ANN, "ready", 2)
    [event] = world.envelopes(ANN, "profile_restored")
    assert event.data == {"generation": 1, "source": "disk", "older": True}


def test_a_page_that_lost_its_credentials_in_silence_is_started_again_from_the_vault(
    world: World,
) -> None:
    saved(world, 1)

    world.kill()
    (credentials(world) / "link").unlink()
    world.start()
    world.wait_for(ANN, "crashed")
    world.advance(5)

    world.wait_for(ANN, "ready", 2)
    assert world.envelopes(ANN, "crashed")[0].data["reason"] == "link_lost"
    assert len(world.envelopes(ANN, "profile_restored")) == 1


def test_a_link_that_the_phone_ended_is_not_asked_for_twice(world: World) -> None:
    saved(world, 1)

    world.kill()
    world.whatsapp.unlink(NUMBER)
    world.start()
    world.wait_for(ANN, "crashed")
    world.advance(5)

    world.wait_for(ANN, "logged_out")
    world.until(lambda: generations(world) == [])
    assert len(world.envelopes(ANN, "profile_restored")) == 1


def test_with_the_wrong_key_the_link_is_kept_and_the_session_says_what_is_missing(
    world: World,
) -> None:
    saved(world, 1)
    other = base64.b64encode(b"o" * 32).decode()

    world.kill()
    shutil.rmtree(profile(world))
    world.vault = Vault((world.shelf,), lambda: Keys.read(other, "VAULT_KEY"), 10)
    world.start()

    world.wait_for(ANN, "crashed")
    [event] = world.envelopes(ANN, "crashed")
    assert event.data["reason"] == "vault_key"
    assert "VAULT_KEY" in event.data["detail"]
    assert world.state(ANN).linked
    assert generations(world) == [1]


def test_without_any_snapshot_a_lost_profile_is_a_lost_link(world: World) -> None:
    world.linked(ANN)

    end_and_start(world)

    world.wait_for(ANN, "logged_out")


# Forgetting


@pytest.mark.parametrize("command", [e.Logout(), e.Delete()])
def test_with_the_link_its_snapshots_go(world: World, command: SessionCommand) -> None:
    saved(world, 2)

    world.wire.command(ANN, command)

    world.wait_for(ANN, "logged_out")
    world.until(lambda: generations(world) == [])


def test_a_snapshot_that_is_being_taken_does_not_outlive_the_link(world: World) -> None:
    shelf = SlowShelf(world.settings.vault, keep=3)
    with_shelf(world, shelf)
    world.linked(ANN)
    world.advance(AFTER)
    world.until(shelf.asked.is_set)

    world.whatsapp.unlink(NUMBER)
    world.wait_for(ANN, "logged_out")
    shelf.go_on.set()

    world.stop()
    assert generations(world) == []
    assert world.envelopes(ANN, "profile_saved") == []


async def test_a_browser_that_is_gone_has_nothing_to_copy(world: World, tmp_path: Path) -> None:
    browser = world.launcher.browser(tmp_path / "p", "ann-bot")

    with pytest.raises(PageGone):
        await browser.copy_profile(tmp_path / "copy")
