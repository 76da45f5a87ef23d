"""`python -m actors.backup` on real brokers: what goes into the file comes back as it was."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ClusterInfo
from nats.js.errors import NotFoundError

from actors.backup import streams as copied
from actors.backup.__main__ import main
from actors.backup.file import Backup
from actors.vault.shelves import RedisShelf, open_redis
from events import streams, subjects
from events.settings import Settings
from events.subjects import SessionId
from tests import services

pytestmark = pytest.mark.services

SESSION = SessionId("ann", "bot")
READY = subjects.session_event(SESSION, "ready")
SEND = subjects.send_command(SESSION)
SNAPSHOT = "vault/ann.bot/00000001.snapshot"

T = TypeVar("T")


def on(url: str, do: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with a connection."""

    async def doing() -> T:
        client = await nats.connect(url.split(","))
        try:
            return await do(client)
        finally:
            await client.close()

    return asyncio.run(doing())


async def fill(client: Client, replicas: int = 1) -> None:
    """Leave a log with holes at both ends of a run, a used queue, a key and a file."""
    js = client.jetstream()
    await streams.declare(js, Settings(replicas=replicas))
    for number in range(10):
        await js.publish(READY, b"%d" % number, headers={"Nats-Msg-Id": f"id-{number}"})
    mortal = {"Nats-TTL": "3600s"}
    await js.publish(subjects.message_event(SESSION, "received"), b"hello", headers=mortal)
    for position in (1, 5, 10):
        await js.delete_msg(subjects.EVENTS, position)
    for number in range(3):
        await js.publish(SEND, b"%d" % number)
    worker = await js.pull_subscribe(SEND, durable="worker")
    # Of three brokers one has to be elected for it first.
    while replicas > 1 and not (await _cluster_of(js, "worker")).leader:
        await asyncio.sleep(0.05)
    (first,) = await worker.fetch(1)
    await first.ack_sync()
    await worker.fetch(1)  # Taken, and not acknowledged.
    await (await js.key_value(subjects.KEYS)).put("key", b"hash")
    await (await js.object_store(subjects.MEDIA)).put("picture", b"pixels" * 100_000)


async def _cluster_of(js: JetStreamContext, consumer: str) -> ClusterInfo:
    found = await js.consumer_info(subjects.COMMANDS, consumer)
    assert found.cluster is not None
    return found.cluster


async def held(client: Client) -> dict[str, object]:
    """Everything that a backup must bring back."""
    js = client.jetstream()
    messages = [await message(js, position) for position in range(1, 12)]
    commands = await js.stream_info(subjects.COMMANDS)
    media = await (await js.object_store(subjects.MEDIA)).get("picture")
    return {
        "log": messages,
        "waiting": (commands.state.messages, commands.state.last_seq),
        "key": (await (await js.key_value(subjects.KEYS)).get("key")).value,
        "media": media.data,
    }


async def message(js: JetStreamContext, position: int) -> object:
    try:
        return await js.get_msg(subjects.EVENTS, position)
    except NotFoundError:
        return None


async def next_position(client: Client) -> int:
    return (await client.jetstream().publish(READY, b"later")).seq


def a_folder(home: Path) -> Path:
    """A data folder with keys and one snapshot."""
    for name in ("api-key", "vault-key", SNAPSHOT):
        file = home / "live" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {name}")
    return home


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder that the command works on."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return a_folder(tmp_path / "data")


@pytest.fixture
def full(own_nats: services.NatsServer, monkeypatch: pytest.MonkeyPatch) -> services.NatsServer:
    """A broker with something on it, which the command is told."""
    monkeypatch.setenv("NATS_URL", own_nats.url)
    on(own_nats.url, fill)
    return own_nats


@pytest.fixture
def backup(full: services.NatsServer, data: Path, tmp_path: Path) -> Path:
    """A backup of that broker and folder."""
    file = tmp_path / "backup"
    assert main(["backup", str(file)]) == 0
    return file


def test_a_backup_comes_back_on_an_empty_broker_as_it_was(
    full: services.NatsServer,
    backup: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = on(full.url, held)
    shutil.rmtree(data)
    (tmp_path / "other").mkdir()
    with services.nats_server(tmp_path / "other") as other:
        monkeypatch.setenv("NATS_URL", other.url)

        assert main(["restore", str(backup)]) == 0

        assert on(other.url, held) == before
        assert on(other.url, next_position) == 12
    assert (data / "live" / SNAPSHOT).read_text() == f"this is {SNAPSHOT}"
    assert (data / "live" / "api-key").stat().st_mode & 0o777 == 0o600
    told = capsys.readouterr().out
    assert "position 11, files of keys (api-key, vault-key), snapshots of profiles (1)" in told
    assert "2 commands were waiting" in told


def test_snapshots_of_other_machines_are_fetched_from_redis_and_handed_out_again(
    full: services.NatsServer,
    data: Path,
    redis_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(redis_port))
    elsewhere = SessionId("ben", "desk")
    shelved(lambda shelf: shelf.put(elsewhere, 4, b"sealed elsewhere"))

    backed_up = main(["backup", str(tmp_path / "backup")])
    shelved(lambda shelf: shelf.forget(elsewhere))
    restored = main(["restore", str(tmp_path / "backup"), "--replace"])

    assert (backed_up, restored) == (0, 0)
    sealed = data / "live/vault/ben.desk/00000004.snapshot"
    assert sealed.read_bytes() == b"sealed elsewhere"
    assert shelved(lambda shelf: shelf.get(elsewhere, 4)) == b"sealed elsewhere"
    assert shelved(lambda shelf: shelf.generations(SESSION)) == [1]


def shelved(do: Callable[[RedisShelf], Awaitable[T]]) -> T:
    """Do something with the snapshots in Redis."""

    async def doing() -> T:
        settings = Settings(_env_file=None)
        redis = open_redis(settings)
        try:
            return await do(RedisShelf(redis, settings.vault_hours))
        finally:
            await redis.aclose()

    return asyncio.run(doing())


def test_everything_that_is_declared_is_copied_or_left_out_on_purpose(
    full: services.NatsServer,
) -> None:
    async def named(client: Client) -> set[str]:
        return {str(one.config.name) for one in await client.jetstream().streams_info()}

    assert on(full.url, named) == {*copied.COPIED, *copied.LEFT_OUT}


def test_who_speaks_of_the_log_is_copied_before_it_and_whom_it_names_after_it(
    backup: Path,
) -> None:
    with Backup(backup) as whole:
        order = [part.name.partition("/")[2] for part in whole.manifest.named("streams")]

    log = order.index(subjects.EVENTS)
    assert {f"KV_{subjects.HOOKS}", subjects.COMMANDS} == set(order[:log])
    assert f"OBJ_{subjects.MEDIA}" in order[log:]


def test_what_is_there_is_kept_unless_it_is_to_give_way(
    full: services.NatsServer, backup: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = on(full.url, held)
    assert on(full.url, next_position) == 12
    (data / "live" / "api-key").write_text("a newer key")

    refused = main(["restore", str(backup)])
    kept = (on(full.url, next_position), (data / "live" / "api-key").read_text())
    done = main(["restore", str(backup), "--replace"])

    assert (refused, done) == (1, 0)
    assert "--replace has it give way" in capsys.readouterr().err
    assert kept == (13, "a newer key")
    assert on(full.url, held) == before
    assert (data / "live" / "api-key").read_text() == "this is api-key"
    (aside,) = (data / "live").glob("before-*/api-key")
    assert aside.read_text() == "a newer key"


def test_nothing_is_changed_under_a_service_that_runs(
    full: services.NatsServer, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def restored_beside(client: Client) -> int:
        worker = await client.jetstream().pull_subscribe("wa.cmd.pool.*.create", durable="node")
        waiting = asyncio.create_task(worker.fetch(1, timeout=30))
        while not (await worker.consumer_info()).num_waiting:
            await asyncio.sleep(0.01)
        status = await asyncio.to_thread(main, ["restore", str(backup), "--replace"])
        waiting.cancel()
        return status

    assert on(full.url, restored_beside) == 1
    assert "the service runs" in capsys.readouterr().err
    assert on(full.url, next_position) == 12


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_half_a_file_changes_nothing(
    full: services.NatsServer,
    backup: Path,
    data: Path,
    kept: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = backup.read_bytes()
    backup.write_bytes(raw[: int(raw.index(b'"format"') * kept)])
    (data / "live" / "api-key").write_text("a newer key")

    status = main(["restore", str(backup), "--replace"])

    assert status == 1
    assert str(backup) in capsys.readouterr().err
    assert on(full.url, next_position) == 12
    assert (data / "live" / "api-key").read_text() == "a newer key"


def test_a_byte_that_was_changed_changes_nothing(
    full: services.NatsServer, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(backup) as tar:
        member = tar.getmember(f"streams/{subjects.EVENTS}")
    raw = bytearray(backup.read_bytes())
    raw[member.offset_data + member.size // 2] ^= 1
    backup.write_bytes(raw)

    status = main(["restore", str(backup), "--replace"])

    assert status == 1
    assert "was changed since it was made: streams/WA_EVT" in capsys.readouterr().err
    assert on(full.url, next_position) == 12


def test_a_backup_of_the_sandbox_is_not_restored_beside_the_real_thing(
    backup: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SANDBOX_URL", "https://127.0.0.1:1")

    assert main(["restore", str(backup), "--replace"]) == 1
    assert "a backup of the live service" in capsys.readouterr().err


def test_copies_of_a_newer_broker_are_refused(
    full: services.NatsServer, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = backup.read_bytes()
    newer = raw.replace(b'"broker": "2.15.1"', b'"broker": "9.15.1"')
    assert newer != raw
    backup.write_bytes(newer)

    assert main(["restore", str(backup), "--replace"]) == 1
    assert "nats-server 9.15.1 made the copies" in capsys.readouterr().err
    assert on(full.url, next_position) == 12


def test_a_broker_that_is_away_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setattr("actors.backup.broker._PATIENCE", 0.3)

    assert main(["backup", str(tmp_path / "backup")]) == 1
    assert "NATS at 127.0.0.1:1 as node" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()


def test_a_disk_without_room_is_said_before_anything_is_written(
    full: services.NatsServer,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    assert main(["backup", str(tmp_path / "backup")]) == 1
    assert "MB are needed" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()


def test_a_stopped_service_is_backed_up_and_a_lost_folder_comes_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, seen = data / "live", tmp_path / "seen"

    def folder_of_a_stopped_service() -> None:
        seen.mkdir()
        monkeypatch.setenv("DATA_DIR", str(seen))
        with services.nats_server(tmp_path) as server:
            monkeypatch.setenv("NATS_URL", server.url)
            on(server.url, fill)
            assert main(["backup", str(tmp_path / "first")]) == 0
        monkeypatch.delenv("NATS_URL")
        monkeypatch.setenv("DATA_DIR", str(data))
        shutil.rmtree(home)
        assert main(["restore", str(tmp_path / "first")]) == 0

    folder_of_a_stopped_service()
    (home / "api-key").write_text("made by the service")

    backed_up = main(["backup", str(tmp_path / "second")])
    refused = main(["restore", str(tmp_path / "second")])
    shutil.rmtree(home)
    restored = main(["restore", str(tmp_path / "second")])
    again = main(["restore", str(tmp_path / "second"), "--replace"])

    assert (backed_up, refused, restored, again) == (0, 1, 0, 0)
    with Backup(tmp_path / "first") as first, Backup(tmp_path / "second") as second:
        assert ends(first) == ends(second)
    assert (home / "api-key").read_text() == "made by the service"
    assert not (home / ".restoring").exists()
    (aside,) = home.glob("before-*")
    assert {path.name for path in aside.iterdir()} >= {"nats", "api-key"}


def ends(backup: Backup) -> dict[str, tuple[int, int]]:
    """Where each stream of a backup ends, and how many messages it holds."""
    return {
        part.name: (part.stream.last, part.stream.messages)
        for part in backup.manifest.parts
        if part.stream is not None
    }


@pytest.mark.long
def test_three_brokers_are_backed_up_and_restored(
    cluster: services.NatsCluster, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", cluster.url)
    monkeypatch.setenv("REPLICAS", "3")
    on(cluster.url, lambda client: fill(client, replicas=3))
    before = on(cluster.url, held)

    backed_up = main(["backup", str(tmp_path / "backup")])
    restored = main(["restore", str(tmp_path / "backup"), "--replace"])

    async def copies(client: Client) -> int | None:
        return (await client.jetstream().stream_info(subjects.EVENTS)).config.num_replicas

    assert (backed_up, restored) == (0, 0)
    assert on(cluster.url, held) == before
    assert on(cluster.url, copies) == 3
