"""What an earlier version left in the broker's folder is read by this one.

`tests/golden/log/COMMIT.tar.gz` is a folder that the code of that commit filled: every
event and command it knew, in streams that it declared. Recorded by
`python -m tests.golden.record_log` with that code on the path; see there. Record another
one before what is written changes, and never change one that is there.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from nats.aio.client import Client

from actors.backup.__main__ import main as backup
from actors.backup.broker import ours
from events import codec, streams, subjects
from events.envelope import Envelope
from events.jetstream_log import JetStreamLog
from events.log import Guard, Stored
from events.redis import connect
from events.session import Session, State, evolve
from events.settings import Settings
from events.subjects import SessionId
from gateway.frames import decoded, of_event
from projections.read import RedisReadModels
from projections.rebuild import rebuild

pytestmark = pytest.mark.services

RECORDED = sorted((Path(__file__).parents[1] / "golden/log").glob("*.tar.gz"))
ADA = SessionId("ada", "shop")

T = TypeVar("T")


class Folder:
    """A recorded folder, unpacked, and what was noted beside it."""

    def __init__(self, archive: Path, home: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(home, filter="data")
        self._nats = home / "nats"
        self.told: dict[str, Any] = json.loads((home / "told.json").read_text())
        # Of that day, for ever: the sample's messages were written long ago.
        self.settings = Settings(data_dir=home, message_days=36_500)

    def become_home(self) -> None:
        """Lie where a service of today has it."""
        self.settings.home.mkdir()
        self._nats = self._nats.rename(self.settings.home / "nats")

    def on(self, do: Callable[[Client], Awaitable[T]]) -> T:
        """Run today's broker on it and do something as the node."""

        async def doing() -> T:
            async with ours(self.settings, self._nats) as client:
                return await do(client)

        return asyncio.run(doing())


@pytest.fixture(params=RECORDED, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """One of the folders that earlier versions left."""
    return Folder(request.param, tmp_path)


async def log_of(client: Client) -> list[tuple[Stored, Envelope]]:
    read = JetStreamLog(client.jetstream()).read([subjects.ALL_EVENTS])
    return [(stored, codec.decode(stored.raw)) async for stored in read]


def test_there_is_a_recorded_folder() -> None:
    assert RECORDED


def test_every_event_and_command_is_read(folder: Folder) -> None:
    async def read(client: Client) -> tuple[list[str], list[str]]:
        js = client.jetstream()
        events = [codec.type_of(codec.payload_of(one)) for _, one in await log_of(client)]
        commands: list[str] = []
        for position in range(1, len(folder.told["commands"]) + 1):
            raw = (await js.get_msg(subjects.COMMANDS, position)).data or b""
            commands.append(codec.type_of(codec.payload_of(codec.decode(raw))))
        return events, commands

    events, commands = folder.on(read)

    # Today's name of a type may have another version, never another meaning.
    assert unversioned(events) == unversioned(folder.told["types"])
    assert unversioned(commands) == unversioned(folder.told["commands"])


def unversioned(names: list[str]) -> list[str]:
    return [name.rpartition(".v")[0] for name in names]


def test_the_sessions_are_folded_to_where_they_were(folder: Folder) -> None:
    async def fold(client: Client) -> dict[str, Session]:
        sessions: dict[str, Session] = {}
        for stored, envelope in await log_of(client):
            if stored.subject.startswith("wa.evt.session."):
                was = sessions.get(envelope.subject, Session())
                event = codec.session_event_of(envelope)
                sessions[envelope.subject] = evolve(was, event, envelope.time)
        return sessions

    sessions = folder.on(fold)

    assert {name: one.version for name, one in sessions.items()} == folder.told["sessions"]
    assert {one.state for one in sessions.values()} == {State.READY}


def test_the_streams_are_brought_up_to_date_in_place_and_go_on(folder: Folder) -> None:
    async def go_on(client: Client) -> tuple[str, int, set[str]]:
        js = client.jetstream()
        await streams.declare(js, folder.settings)
        events = await log_of(client)
        log = JetStreamLog(js)
        tail = await log.tail(subjects.session_family(ADA))
        first = next(envelope for _, envelope in events if envelope.type.endswith("claimed.v1"))
        claimed = codec.seal(
            codec.payload_of(first),
            subject=ADA.dotted,
            source="wa/node/now",
            at=first.time,
            version=folder.told["sessions"][ADA.dotted] + 1,
        )
        subject = subjects.session_event(ADA, "claimed")
        position = await log.append(subject, claimed, Guard(subjects.session_family(ADA), tail))
        names = {str(one.config.name) for one in await js.streams_info()}
        born = (await js.stream_info(subjects.EVENTS)).created
        return str(born), position, names

    born, position, names = folder.on(go_on)

    assert born == folder.told["born"]
    assert position == len(folder.told["types"]) + 1
    assert f"OBJ_{subjects.MEDIA}" in names


def test_the_read_models_are_made_from_it(folder: Folder, redis_port: int) -> None:
    settings = folder.settings.model_copy(update={"redis_port": redis_port})

    async def project(client: Client) -> tuple[int, list[Any], list[Any], list[Any]]:
        log = JetStreamLog(client.jetstream())
        redis = connect(settings)
        reads = RedisReadModels.open(settings, log)
        try:
            count = await rebuild(log, redis, settings, lambda *_: None)
            history = await reads.history(ADA, 50)
            return count, await reads.sessions(), history, await reads.health()
        finally:
            await reads.close()
            await redis.aclose()

    count, sessions, history, health = folder.on(project)

    assert count == len(folder.told["types"])
    assert {(one.session, one.word) for one in sessions} == {
        ("ada-shop", "ready"),
        ("ben-desk", "ready"),
    }
    assert {one.message for one in history if one.message} == {f"order-{n}" for n in range(4)}
    assert [(one.lag, one.stopped) for one in health] == [(0, None), (0, None)]


def test_it_is_backed_up_and_restored(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(folder.settings.data_dir))
    folder.become_home()
    file = str(tmp_path / "backup")

    statuses = [backup(["backup", file]), backup(["restore", file, "--replace"])]
    events = folder.on(log_of)

    assert statuses == [0, 0]
    assert [stored.position for stored, _ in events] == list(
        range(1, len(folder.told["types"]) + 1)
    )


def test_every_event_is_shown_to_who_watches(folder: Folder) -> None:
    events = folder.on(log_of)

    told = [decoded(stored) for stored, envelope in events if ".pool." not in envelope.type]

    frames = [of_event(one) for one in told if one is not None]
    names = {name for frame in frames if frame is not None for name, _ in frame.faces}

    assert None not in told
    assert {"session-ready", "message-from-me", "message-ack"} <= names
