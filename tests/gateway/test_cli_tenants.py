"""`wa keys nats` on the broker that `up` runs: who gets in, and how far."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest
from click.testing import Result
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError
from pydantic import SecretStr
from typer.testing import CliRunner

from actors.machine import servers
from actors.machine.ports import free_port
from actors.machine.secrets import Passwords
from events import connection, streams, subjects
from events.settings import Settings
from events.subjects import SessionId
from gateway.cli.main import app
from gateway.cli.service import CannotDo
from tests import services
from tests.contract.test_permissions import listens

pytestmark = pytest.mark.services

MINE = SessionId("ann", "shop")
THEIRS = SessionId("bob", "shop")
PASSWORDS = Passwords()

Wa = Callable[..., Awaitable[Result]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "live"
    made.mkdir()
    return made


@pytest.fixture
def server(home: Path) -> Iterator[services.NatsServer]:
    """Run nats-server as `up` does, as a child of this process, which plays `up`."""
    port = free_port()
    recipe = servers.nats(Settings(nats_port=port), home / "nats", PASSWORDS)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in recipe.environment.items():
            environment.setenv(name, value)
        running = services.NatsServer(
            name="nats",
            command=list(recipe.command),
            port=port,
            home=home,
            is_up=lambda: listens(port),
        )
        try:
            running.start()
            yield running
        finally:
            running.kill()


@pytest.fixture
async def node(server: services.NatsServer) -> AsyncIterator[Client]:
    """A node that has declared the streams, and stays connected."""
    settings = Settings(nats_url=server.url, nats_password=SecretStr(PASSWORDS.node))
    client = await connection.connect(settings, "node", name="test", patience=30)
    await streams.declare(client.jetstream(), settings)
    yield client
    await client.close()


@pytest.fixture
def wa(
    node: Client, server: services.NatsServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Wa:
    """Run `wa` beside a service that has said where its NATS is."""
    note = {
        "pid": os.getpid(),
        "nats_url": server.url,
        "nats_tenants": str(home / servers.TENANTS),
        "nats_passwords": PASSWORDS.model_dump(),
    }
    (home / "up.json").write_text(json.dumps(note))
    monkeypatch.setenv("DATA_DIR", str(home.parent))
    return run


async def run(*arguments: str) -> Result:
    """Run `wa` with these arguments."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


def told(result: Result, word: str) -> str:
    """Read what the command said behind a word."""
    assert result.exit_code == 0, (result.output, result.exception)
    return next(
        line.partition(":")[2].strip() for line in result.output.splitlines() if word in line
    )


async def log_in(url: str, result: Result) -> Client:
    """Connect as the user that a command has shown."""

    async def quiet(_: Exception) -> None:
        pass

    return await nats.connect(
        url,
        user=told(result, "user:"),
        password=told(result, "password:"),
        allow_reconnect=False,
        error_cb=quiet,
    )


async def refused(url: str, result: Result) -> None:
    """See that a user is not let in any more."""
    # The server hangs up behind its word, which may then never be read.
    with pytest.raises((NatsError, OSError)):
        await log_in(url, result)


async def test_the_user_reaches_its_own_sessions_and_no_others(
    wa: Wa, server: services.NatsServer, node: Client
) -> None:
    made = await wa("keys", "nats", "ann")
    client = await log_in(server.url, made)
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: nats.aio.msg.Msg) -> None:
        await heard.put(message.subject)

    await client.subscribe("wa.evt.>", cb=hear)
    await client.flush()
    ack = await client.jetstream().publish(subjects.send_command(MINE), b"{}")
    for foreign in (subjects.send_command(THEIRS), subjects.create_command("bob")):
        with pytest.raises((NoRespondersError, NoStreamResponseError, ServiceUnavailableError)):
            await client.jetstream().publish(foreign, b"{}")
    # Theirs first: what is heard after it shows that it was not.
    for session in (THEIRS, MINE):
        await node.publish(subjects.session_event(session, "ready"), b"{}")
    await node.flush()

    assert ack.stream == subjects.COMMANDS
    assert await asyncio.wait_for(heard.get(), 10) == subjects.session_event(MINE, "ready")
    # And the command left none of its own to see whether it works.
    assert (await node.jetstream().stream_info(subjects.COMMANDS)).state.messages == 1
    await client.close()


async def test_the_same_again_renews_the_password_and_cuts_the_earlier_one(
    wa: Wa, server: services.NatsServer, home: Path
) -> None:
    first = await wa("keys", "nats", "ann")
    client = await log_in(server.url, first)
    second = await wa("keys", "nats", "ann")

    assert first.output.startswith("made\n")
    assert second.output.startswith("renewed; the earlier password is worth nothing now\n")
    await refused(server.url, first)
    while not client.is_closed:
        await asyncio.sleep(0.01)
    await (await log_in(server.url, second)).close()
    assert stat.S_IMODE((home / servers.TENANTS).stat().st_mode) == 0o600


async def test_one_that_is_removed_is_refused_and_the_others_stay(
    wa: Wa, server: services.NatsServer, node: Client
) -> None:
    ann, bob = await wa("keys", "nats", "ann"), await wa("keys", "nats", "bob")
    client = await log_in(server.url, bob)
    removed = await wa("keys", "nats", "ann", "--remove")
    again = await wa("keys", "nats", "ann", "--remove")

    assert removed.output == "removed: tenant-ann\n"
    await refused(server.url, ann)
    assert "has no user at NATS" in str(again.exception)
    # Neither the service nor another tenant noticed.
    assert node.stats["reconnects"] == 0
    assert client.is_connected
    await client.close()


async def test_users_outlive_the_server(wa: Wa, server: services.NatsServer, home: Path) -> None:
    made = await wa("keys", "nats", "ann")
    server.kill()
    servers.nats(Settings(nats_port=server.port), home / "nats", PASSWORDS)
    server.start()

    client = await log_in(server.url, made)

    assert client.is_connected
    await client.close()


async def test_a_tenant_may_be_called_as_a_role_is(wa: Wa, server: services.NatsServer) -> None:
    client = await log_in(server.url, await wa("keys", "nats", "node"))

    assert client.is_connected
    await client.close()


@pytest.mark.parametrize("user", ["", "ann.shop", "*", ">", "ann bob", "a" * 65, '"'])
async def test_an_id_that_is_none_is_refused(wa: Wa, home: Path, user: str) -> None:
    before = (home / servers.TENANTS).read_text()
    results = [
        await wa("keys", "nats", "--", user),
        await wa("keys", "nats", "--remove", "--", user),
    ]

    for result in results:
        assert isinstance(result.exception, CannotDo)
        assert f"{user!r} is no id of a user: USER must be 1 to 64" in str(result.exception)
    assert (home / servers.TENANTS).read_text() == before


async def test_a_file_that_somebody_broke_is_named_and_left(wa: Wa, home: Path) -> None:
    (home / servers.TENANTS).write_text("{")

    result = await wa("keys", "nats", "ann")

    assert isinstance(result.exception, CannotDo)
    assert servers.TENANTS in str(result.exception)
    assert (home / servers.TENANTS).read_text() == "{"


async def test_a_server_that_is_not_there_is_said(
    wa: Wa, server: services.NatsServer, home: Path
) -> None:
    server.kill()

    result = await wa("keys", "nats", "ann")

    assert "not there at the moment" in str(result.exception)


async def test_for_a_nats_of_somebody_else_it_shows_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NATS_URL", "nats://broker.example:4222")

    given = await run("keys", "nats", "ann")
    taken = await run("keys", "nats", "ann", "--remove")

    assert '"wa.cmd.outbox.ann.*.send"' in given.output
    assert "--signal reload=" in given.output
    assert "TENANT_ann" in taken.output
    assert "--signal reload=" in taken.output


async def test_without_a_service_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    result = await run("keys", "nats", "ann")

    assert "make up" in str(result.exception)
