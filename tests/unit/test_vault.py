"""The vault: what is saved comes back, and what was touched does not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.vault import archive, keys
from actors.vault.keys import BadKey, Keys, NotRotated
from actors.vault.shelves import DiskShelf, ShelfAway
from actors.vault.snapshot import Damaged, NoKey, read_header, seal, unseal
from actors.vault.vault import Restored, Vault, VaultAway
from events.settings import Settings
from events.subjects import SessionId

ANN, BEN = SessionId("ann", "bot"), SessionId("ben", "bot")
NOW = datetime(2026, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC)
MARKER = b"the credentials of a link"


class NearShelf(DiskShelf):
    """Stands for Redis: asked first, and away when told."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, keep=2)
        self.away = False

    async def generations(self, session: SessionId) -> list[int]:
        if self.away:
            raise ShelfAway("Redis: away")
        return await super().generations(session)

    async def put(self, session: SessionId, generation: int, sealed: bytes) -> None:
        if self.away:
            raise ShelfAway("Redis: away")
        await super().put(session, generation, sealed)


class Place:
    """A node's folder with a profile, two shelves and a key."""

    def __init__(self, home: Path) -> None:
        self.profile = home / "profiles" / "ann.bot"
        self.near, self.far = NearShelf(home / "near"), DiskShelf(home / "far", keep=2)
        self.settings = Settings(data_dir=home, _env_file=None)
        self.vault = self.under(Keys.open(self.settings))

    def under(self, held: Keys) -> Vault:
        return Vault((self.near, self.far), lambda: held, largest_mb=1)

    def write(self, text: bytes = MARKER) -> None:
        database = self.profile / "Default" / "IndexedDB" / "x.leveldb"
        database.mkdir(parents=True, exist_ok=True)
        (database / "000003.log").write_bytes(text)
        (database / "CURRENT").write_bytes(b"")
        (self.profile / "Default" / "GPUCache").mkdir(exist_ok=True)
        (self.profile / "Default" / "GPUCache" / "data_0").write_bytes(b"c" * 5_000)

    def read(self) -> bytes:
        return (self.profile / "Default/IndexedDB/x.leveldb/000003.log").read_bytes()

    async def save(self, newest: int = 0) -> int:
        return (await self.vault.save(ANN, self.profile, newest, NOW)).generation

    def touch(self, shelf: DiskShelf, generation: int, at: int = -20) -> None:
        """Change one byte of a snapshot."""
        path = self._file(shelf, generation)
        sealed = bytearray(path.read_bytes())
        sealed[at] ^= 1
        path.write_bytes(sealed)

    def cut(self, shelf: DiskShelf, generation: int, left: int) -> None:
        path = self._file(shelf, generation)
        path.write_bytes(path.read_bytes()[:left])

    def lose_profile(self) -> None:
        archive.remove(self.profile)

    @staticmethod
    def _file(shelf: DiskShelf, generation: int) -> Path:
        return shelf._folder / "ann.bot" / f"{generation:08}.snapshot"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write()
    return place


# Packing


def test_a_profile_comes_back_with_its_empty_files_and_without_its_caches(place: Place) -> None:
    back = place.profile.with_name("back")

    archive.unpack(archive.pack(place.profile, 10_000), back)

    assert sorted(str(path.relative_to(back)) for path in back.rglob("*")) == [
        "Default",
        "Default/IndexedDB",
        "Default/IndexedDB/x.leveldb",
        "Default/IndexedDB/x.leveldb/000003.log",
        "Default/IndexedDB/x.leveldb/CURRENT",
    ]
    assert (back / "Default/IndexedDB/x.leveldb/000003.log").read_bytes() == MARKER


def test_a_copy_has_what_a_snapshot_has(place: Place, tmp_path: Path) -> None:
    archive.copy(place.profile, tmp_path / "copy")

    copied, packed = tmp_path / "copy", tmp_path / "packed"
    archive.unpack(archive.pack(place.profile, 10_000), packed)
    assert {path.relative_to(copied) for path in copied.rglob("*")} == {
        path.relative_to(packed) for path in packed.rglob("*")
    }


def test_links_in_a_profile_are_left_out(place: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not of the profile")
    (place.profile / "link").symlink_to(tmp_path / "secret")

    archive.unpack(archive.pack(place.profile, 10_000), tmp_path / "back")

    assert not (tmp_path / "back" / "link").exists()


def test_a_profile_that_is_too_large_is_named_with_its_limit(place: Place) -> None:
    with pytest.raises(archive.TooLarge, match="VAULT_MAX_MB"):
        archive.pack(place.profile, len(MARKER) - 1)


@pytest.mark.parametrize("left", [0, 1, 20, -1])
def test_half_an_archive_is_no_profile_at_all(place: Place, tmp_path: Path, left: int) -> None:
    packed = archive.pack(place.profile, 10_000)

    with pytest.raises(archive.Unpackable):
        archive.unpack(packed[:left], tmp_path / "back")

    assert not list(tmp_path.glob("back*"))


# Sealing


@pytest.fixture
def held() -> Keys:
    return a_key(1)


def a_key(*seeds: int) -> Keys:
    written = [base64.b64encode(bytes([seed]) * 32).decode() for seed in seeds]
    return Keys.read(",".join(written), "VAULT_KEY")


def test_a_snapshot_says_its_key_generation_and_time_to_anyone(held: Keys) -> None:
    header = read_header(seal(MARKER, ANN, 42, NOW, held))

    assert (header.key_id, header.generation, header.taken) == (held.first.id, 42, NOW)


def test_nothing_of_the_profile_can_be_read_in_a_snapshot(held: Keys) -> None:
    sealed = seal(MARKER * 100, ANN, 1, NOW, held)

    assert MARKER not in sealed
    assert unseal(sealed, ANN, held) == MARKER * 100


def test_two_snapshots_of_one_profile_have_nothing_in_common(held: Keys) -> None:
    assert seal(MARKER, ANN, 1, NOW, held)[-40:] != seal(MARKER, ANN, 1, NOW, held)[-40:]


def test_every_single_byte_that_changes_is_noticed(held: Keys) -> None:
    sealed = seal(MARKER, ANN, 1, NOW, held)

    for at in range(len(sealed)):
        touched = bytearray(sealed)
        touched[at] ^= 1
        with pytest.raises((Damaged, NoKey)):
            unseal(bytes(touched), ANN, held)


def test_every_cut_is_noticed(held: Keys) -> None:
    sealed = seal(MARKER, ANN, 1, NOW, held)

    for length in range(len(sealed)):
        with pytest.raises(Damaged):
            unseal(sealed[:length], ANN, held)


def test_a_snapshot_of_another_session_does_not_open(held: Keys) -> None:
    with pytest.raises(Damaged, match="another session"):
        unseal(seal(MARKER, ANN, 1, NOW, held), BEN, held)


def test_a_key_that_is_missing_is_named_and_so_is_what_to_do(held: Keys) -> None:
    sealed = seal(MARKER, ANN, 1, NOW, a_key(2))

    with pytest.raises(NoKey, match=r"add that key to VAULT_KEY") as refused:
        unseal(sealed, ANN, held)

    assert a_key(2).first.id.hex() in str(refused.value)


def test_the_first_key_seals_and_every_key_opens() -> None:
    old = seal(MARKER, ANN, 1, NOW, a_key(1))
    both = a_key(2, 1)

    assert unseal(old, ANN, both) == MARKER
    assert read_header(seal(MARKER, ANN, 2, NOW, both)).key_id == a_key(2).first.id


@pytest.mark.parametrize("written", ["", " , ", "abc", base64.b64encode(b"x" * 31).decode(), "ä"])
def test_what_is_no_key_is_refused_without_being_shown(written: str) -> None:
    with pytest.raises(BadKey, match="openssl rand") as refused:
        Keys.read(written, "VAULT_KEY")

    assert "abc" not in str(refused.value)


def test_the_key_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)

    first, second = Keys.open(settings), Keys.open(settings)

    assert first.first.id == second.first.id
    assert settings.vault_key_file.stat().st_mode & 0o777 == 0o600


def test_rotating_puts_a_new_key_before_the_old_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    old = Keys.open(settings)

    new = keys.rotate(settings)

    assert new.first.id != old.first.id
    assert [key.id for key in new.held[1:]] == [old.first.id]
    assert settings.vault_key_file.stat().st_mode & 0o777 == 0o600


def test_a_key_of_the_environment_is_not_rotated_behind_its_back(tmp_path: Path) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    settings = Settings(data_dir=tmp_path, vault_key=key, _env_file=None)

    with pytest.raises(NotRotated, match="VAULT_KEY is set"):
        keys.rotate(settings)


# Saving and restoring


async def test_a_lost_profile_comes_back(place: Place) -> None:
    generation = await place.save()
    place.lose_profile()

    restored = await place.vault.restore(ANN, place.profile, generation)

    assert restored == Restored(1, "redis", older=False)
    assert place.read() == MARKER


async def test_generations_go_on_from_what_is_on_record_and_from_what_lies_there(
    place: Place,
) -> None:
    assert await place.save(newest=4) == 5
    assert await place.save(newest=0) == 6


async def test_only_the_newest_snapshots_are_kept(place: Place) -> None:
    for _ in range(4):
        await place.save()

    assert await place.near.generations(ANN) == [4, 3]
    assert await place.far.generations(ANN) == [4, 3]


async def test_without_redis_the_disk_has_it(place: Place) -> None:
    await place.save()
    await place.near.forget(ANN)
    place.lose_profile()

    restored = await place.vault.restore(ANN, place.profile, 1)

    assert restored == Restored(1, "disk", older=False)


async def test_a_touched_snapshot_gives_way_to_the_same_one_elsewhere(place: Place) -> None:
    generation = await place.save()
    place.touch(place.near, generation)
    place.lose_profile()

    restored = await place.vault.restore(ANN, place.profile, generation)

    assert restored == Restored(generation, "disk", older=False)


@pytest.mark.parametrize("how", ["touched", "cut", "empty"])
async def test_where_no_copy_of_the_newest_verifies_an_older_one_is_taken_and_said(
    place: Place, how: str
) -> None:
    await place.save()
    place.write(b"newer")
    newest = await place.save()
    for shelf in (place.near, place.far):
        match how:
            case "touched":
                place.touch(shelf, newest)
            case "cut":
                place.cut(shelf, newest, left=200)
            case _:
                place.cut(shelf, newest, left=0)
    place.lose_profile()

    restored = await place.vault.restore(ANN, place.profile, newest)

    assert restored == Restored(1, "redis", older=True)
    assert place.read() == MARKER


async def test_a_snapshot_that_was_never_recorded_is_newer_all_the_same(place: Place) -> None:
    await place.save()
    unrecorded = await place.save()
    for shelf in (place.near, place.far):
        place.touch(shelf, unrecorded)

    restored = await place.vault.restore(ANN, place.profile, newest=1)

    assert restored == Restored(1, "redis", older=True)


async def test_one_that_was_renamed_to_look_newer_is_refused(place: Place) -> None:
    await place.save()
    sealed = await place.near.get(ANN, 1)
    assert sealed is not None
    await place.near.put(ANN, 9, sealed)
    place.lose_profile()

    restored = await place.vault.restore(ANN, place.profile, 1)

    assert restored is not None
    assert restored.generation == 1


async def test_nothing_there_is_said_and_touches_nothing(place: Place) -> None:
    assert await place.vault.restore(ANN, place.profile, 3) is None
    assert place.read() == MARKER


async def test_with_the_wrong_key_nothing_is_overwritten(place: Place) -> None:
    await place.save()
    place.write(b"what lies there")

    with pytest.raises(NoKey):
        await place.under(a_key(9)).restore(ANN, place.profile, 1)

    assert place.read() == b"what lies there"


async def test_a_damaged_profile_is_set_aside_and_not_thrown_away(place: Place) -> None:
    await place.save()
    place.write(b"damaged")

    await place.vault.restore(ANN, place.profile, 1)

    aside = place.profile.with_name(".ann.bot.damaged")
    assert place.read() == MARKER
    assert (aside / "Default/IndexedDB/x.leveldb/000003.log").read_bytes() == b"damaged"


async def test_a_shelf_that_is_away_does_not_hold_up_a_snapshot(place: Place) -> None:
    place.near.away = True

    saved = await place.vault.save(ANN, place.profile, 0, NOW)

    assert saved.shelves == ("disk",)


async def test_with_no_shelf_at_all_it_is_an_error_that_names_each(place: Place) -> None:
    place.near.away = True
    alone = Vault((place.near,), lambda: Keys.open(place.settings), largest_mb=1)

    with pytest.raises(VaultAway, match="Redis: away"):
        await alone.save(ANN, place.profile, 0, NOW)
    with pytest.raises(VaultAway, match="Redis: away"):
        await alone.restore(ANN, place.profile, 0)


async def test_forgetting_leaves_no_snapshot(place: Place) -> None:
    await place.save()

    await place.vault.forget(ANN)

    assert await place.vault.look() == []


# Looking after it


async def test_verifying_names_what_would_not_be_restored(place: Place) -> None:
    await place.save()
    await place.save()
    place.touch(place.far, 2)

    found = await place.vault.look(verify=True)

    faults = {(about.source, about.generation): about.fault for about in found}
    assert faults.pop(("disk", 2)) is not None
    assert faults == {("redis", 2): None, ("redis", 1): None, ("disk", 1): None}


async def test_after_resealing_the_old_key_is_needed_no_more(place: Place) -> None:
    await place.save()
    new = keys.rotate(place.settings)

    count = await place.under(new).reseal()

    alone = Keys((new.first,))
    place.lose_profile()
    assert count == 2
    assert await place.under(new).reseal() == 0
    assert await place.under(alone).restore(ANN, place.profile, 1) is not None


async def test_a_snapshot_can_be_carried_to_another_place(place: Place, tmp_path: Path) -> None:
    await place.save()
    carried = await place.vault.newest(ANN)
    assert carried is not None
    elsewhere = DiskShelf(tmp_path / "elsewhere", keep=2)
    vault = Vault((elsewhere,), lambda: Keys.open(place.settings), largest_mb=1)

    await vault.take_in(ANN, carried[1])

    place.lose_profile()
    assert await vault.restore(ANN, place.profile, 1) == Restored(1, "disk", older=False)


async def test_what_does_not_verify_is_not_taken_in(place: Place) -> None:
    await place.save()
    carried = await place.vault.newest(ANN)
    assert carried is not None

    with pytest.raises(Damaged):
        await place.vault.take_in(BEN, carried[1])

    assert await place.near.generations(BEN) == []
