"""What each role may do at NATS, and that it can do nothing else: nats.conf on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError

from actors.machine import servers
from actors.machine.ports import free_port
from events import connection, streams, subjects
from events.jetstream_log import JetStreamLog
from events.settings import Role, Settings
from gateway import tenants
from projections import turn
from tests import services

pytestmark = pytest.mark.services

CONF = Path(__file__).resolve().parents[2] / "nats.conf"
ROLES: tuple[Role, ...] = ("node", "gateway", "projector", "ops", "service")
READERS: tuple[Role, ...] = ("gateway", "projector", "ops")

VICTIM = subjects.SessionId("other", "bot")
FORGED = subjects.session_event(VICTIM, "ready")

Connect = Callable[[str], Awaitable[Client]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[services.NatsServer]:
    """Run nats.conf as it is, with a tenant in the file that it mentions."""
    home = tmp_path / "a folder with spaces"
    home.mkdir()
    conf = home / "nats.conf"
    conf.write_text(servers.with_tenants(CONF.read_text()))
    acme = tenants.account("acme", password("tenant_acme"))
    (home / servers.TENANTS).write_text(json.dumps({tenants.account_of("acme"): acme}))
    port = free_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WA_NATS_PORT", str(port))
        environment.setenv("WA_NATS_STORE", json.dumps(str(home / "store")))
        for role in ROLES:
            environment.setenv(f"WA_NATS_{role.upper()}_PASSWORD", json.dumps(password(role)))
        running = services.NatsServer(
            name="nats",
            command=[services.binary("nats-server"), "-c", str(conf)],
            port=port,
            home=home,
            is_up=lambda: listens(port),
        )
        try:
            running.start()
            yield running
        finally:
            running.kill()


def password(role: str) -> str:
    """A password that is easily misread: it has a space and begins as a number does."""
    return f"1e5 of {role}"


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture
async def connect(server: services.NatsServer) -> AsyncIterator[Connect]:
    """Connect as a role, the way the service does; a tenant as its own service would."""
    clients: list[Client] = []

    async def connected(role: str) -> Client:
        if role == "acme":
            client = await nats.connect(
                server.url,
                user=tenants.login_of("acme"),
                password=password("tenant_acme"),
                max_reconnect_attempts=0,
            )
        else:
            assert role in ROLES
            settings = Settings(nats_url=server.url, nats_password=password(role))  # type: ignore[arg-type]
            client = await connection.connect(settings, role, name="test", patience=30)
        clients.append(client)
        return client

    yield connected
    for client in clients:
        await client.close()


@pytest.fixture
async def node(connect: Connect, server: services.NatsServer) -> Client:
    """A node that has declared the streams, on an empty broker."""
    client = await connect("node")
    await streams.declare(client.jetstream(), Settings(nats_url=server.url))
    return client


async def stored(node: Client, stream: str) -> int:
    """Count what a stream was ever given, after all that is on its way has arrived."""
    await asyncio.sleep(0.1)
    return (await node.jetstream().stream_info(stream)).state.last_seq


async def refused(action: Awaitable[object]) -> None:
    """See that there is nobody who would do it, and that this is said at once."""
    with pytest.raises((NoRespondersError, NoStreamResponseError, ServiceUnavailableError)):
        await asyncio.wait_for(action, 2)


async def heard(client: Client, subject: str) -> list[Msg]:
    """Collect what a client hears from now on."""
    found: list[Msg] = []

    async def hear(message: Msg) -> None:
        found.append(message)

    await client.subscribe(subject, cb=hear)
    await arrived(client)
    return found


async def arrived(client: Client) -> None:
    """Wait until the server knows what this client has said so far."""
    # nats-py writes flush()'s own ping past what is still waiting in its buffer, so
    # one flush proves nothing (2 % of first requests missed a fresh subscription).
    # When the first has been answered, that buffer has been written.
    await client.flush()
    await client.flush()


async def everyone_spoke(*clients: Client) -> None:
    """Wait until what these have published has been delivered."""
    for client in clients:
        await arrived(client)
    await asyncio.sleep(0.1)


# What each role can do


async def test_the_node_writes_the_log(node: Client) -> None:
    ack = await node.jetstream().publish(subjects.session_event(VICTIM, "claimed"), b"{}")

    assert ack.stream == subjects.EVENTS


@pytest.mark.parametrize("role", READERS)
async def test_a_reader_reads_and_follows_the_log(
    node: Client, connect: Connect, role: Role
) -> None:
    for _ in range(3):
        await node.jetstream().publish(FORGED, b"{}")
    log = JetStreamLog((await connect(role)).jetstream())

    read = [stored.position async for stored in log.read([subjects.ALL_EVENTS])]
    tail = await log.tail(subjects.session_family(VICTIM))
    followed: list[int] = []
    async with (
        asyncio.timeout(10),
        contextlib.aclosing(
            log.follow([subjects.ALL_EVENTS], start=3)  # pyright: ignore[reportArgumentType]
        ) as following,
    ):
        async for event in following:
            if event is None:
                await node.jetstream().publish(FORGED, b"{}")
                continue
            followed.append(event.position)
            if len(followed) == 3:
                break

    assert read == [1, 2, 3]
    assert tail == 3
    assert followed == [3, 4, 5]


async def test_a_reader_that_waited_long_still_hears(node: Client, connect: Connect) -> None:
    log = JetStreamLog((await connect("projector")).jetstream())
    following = log.follow([subjects.ALL_EVENTS], start=1)
    assert await anext(following) is None

    async def later() -> None:
        await asyncio.sleep(4.5)  # almost the whole of a reader's wait
        await node.jetstream().publish(FORGED, b"{}")

    publishing = asyncio.create_task(later())
    event = await asyncio.wait_for(anext(following), 10)
    await publishing

    assert event is not None
    assert event.position == 1


async def test_the_gateway_commands_and_a_repeated_command_is_known(
    node: Client, connect: Connect
) -> None:
    js = (await connect("gateway")).jetstream()

    first = await js.publish(subjects.send_command(VICTIM), b"{}", headers={"Nats-Msg-Id": "1"})
    again = await js.publish(subjects.send_command(VICTIM), b"{}", headers={"Nats-Msg-Id": "1"})

    assert (first.stream, first.duplicate) == (subjects.COMMANDS, None)
    assert again.duplicate


async def test_the_gateway_hears_a_full_inbox_refuse(node: Client, connect: Connect) -> None:
    full = StreamConfig(
        name=subjects.COMMANDS,
        subjects=[subjects.ALL_COMMANDS],
        max_msgs_per_subject=1,
        discard_new_per_subject=True,
    )
    await node.jetstream().delete_stream(subjects.COMMANDS)
    await node.jetstream().add_stream(full.evolve(discard="new"))
    js = (await connect("gateway")).jetstream()
    await js.publish(subjects.send_command(VICTIM), b"{}")

    with pytest.raises(ServiceUnavailableError) as refusal:
        await js.publish(subjects.send_command(VICTIM), b"{}")

    assert refusal.value.err_code == 10077


async def test_the_gateway_keeps_its_buckets(node: Client, connect: Connect) -> None:
    js = (await connect("gateway")).jetstream()
    for bucket in (subjects.KEYS, subjects.IDEMPOTENCY, subjects.HOOKS):
        keys = await js.key_value(bucket)
        watcher = await keys.watchall()

        await keys.put("a", b"1")
        await keys.create("b", b"2")
        await keys.delete("a")
        seen = [await watcher.updates(timeout=2) for _ in range(4)]

        assert [(entry.key, entry.operation) for entry in seen if entry] == [
            ("a", None),
            ("b", None),
            ("a", "DEL"),
        ]
        assert (await keys.get("b")).value == b"2"
        await watcher.stop()


async def test_the_projector_takes_its_turn(node: Client, connect: Connect) -> None:
    js = (await connect("projector")).jetstream()
    one, two = (turn.lease_of(js, Settings(node=name, projector_lease=8)) for name in "ab")

    await asyncio.wait_for(one.acquire(), 10)
    waiting = asyncio.create_task(two.acquire())
    await one.release()
    await asyncio.wait_for(waiting, 30)

    assert (one.remaining < 0, two.remaining > 0) == (True, True)
    assert await stored(node, f"KV_{subjects.TURNS}") == 3


@pytest.mark.parametrize("role", ["gateway", "ops", "service", "acme"])
async def test_nobody_else_takes_the_turn_of_a_projector(
    node: Client, connect: Connect, role: str
) -> None:
    js = (await connect(role)).jetstream()

    await refused(js.publish(f"$KV.{subjects.TURNS}.{turn.LEASE}", b"mine"))

    assert await stored(node, f"KV_{subjects.TURNS}") == 0


async def test_the_gateway_asks_the_owner_and_is_told_when_there_is_none(
    node: Client, connect: Connect
) -> None:
    gateway = await connect("gateway")

    async def answer(message: Msg) -> None:
        await message.respond(b"fine")

    owner = await node.subscribe(subjects.asks(VICTIM), cb=answer)
    await arrived(node)
    answered = await gateway.request(subjects.ask(VICTIM, "chats"), timeout=2)
    await owner.unsubscribe()
    await arrived(node)

    assert answered.data == b"fine"
    await refused(gateway.request(subjects.ask(VICTIM, "chats"), timeout=2))


async def test_the_gateway_buries_dead_letters_and_operations_reads_them(
    node: Client, connect: Connect
) -> None:
    await (await connect("gateway")).jetstream().publish("wa.dead.webhook.x", b"letter")

    log = JetStreamLog((await connect("ops")).jetstream(), stream=subjects.DEAD)

    assert [stored.raw async for stored in log.read([subjects.ALL_DEAD])] == [b"letter"]


async def test_the_gateway_lists_its_webhooks_and_reads_and_deletes_dead_letters(
    node: Client, connect: Connect
) -> None:
    js = (await connect("gateway")).jetstream()
    await js.publish(f"$KV.{subjects.HOOKS}.endpoint.a", b"hook")
    await js.publish("wa.dead.webhook.x", b"letter")
    hooks = JetStreamLog(js, stream=f"KV_{subjects.HOOKS}")
    letters = JetStreamLog(js, stream=subjects.DEAD)

    held = [stored.raw async for stored in hooks.read([f"$KV.{subjects.HOOKS}.>"])]
    (letter,) = [stored async for stored in letters.read(["wa.dead.webhook.x"])]
    found = await js.get_msg(subjects.DEAD, seq=letter.position)
    await js.delete_msg(subjects.DEAD, letter.position)

    assert (held, found.data) == ([b"hook"], b"letter")
    assert [stored async for stored in letters.read([subjects.ALL_DEAD])] == []


@pytest.mark.parametrize("role", ["projector", "ops", "service", "acme"])
async def test_nobody_else_throws_a_dead_letter_away(
    node: Client, connect: Connect, role: str
) -> None:
    await node.jetstream().publish("wa.dead.x", b"letter")
    js = (await connect(role)).jetstream(timeout=1)

    await refused(js.delete_msg(subjects.DEAD, 1))
    await refused(js.purge_stream(subjects.DEAD))

    assert (await node.jetstream().get_msg(subjects.DEAD, seq=1)).data == b"letter"


@pytest.mark.parametrize("role", ["gateway", "projector"])
async def test_who_shows_codes_hears_them(node: Client, connect: Connect, role: Role) -> None:
    found = await heard(await connect(role), subjects.ALL_LIVE)

    await node.publish(subjects.live(VICTIM, "qr"), b"code")
    await everyone_spoke(node)

    assert [message.data for message in found] == [b"code"]


async def test_operations_hears_events_and_no_codes(node: Client, connect: Connect) -> None:
    ops = await connect("ops")
    events = await heard(ops, subjects.ALL_EVENTS)
    everything = await heard(ops, "wa.live.>")

    await node.publish(FORGED, b"{}")
    await node.publish(subjects.live(VICTIM, "qr"), b"code")
    await everyone_spoke(node)

    assert [message.subject for message in events] == [FORGED]
    assert everything == []


# What no role but the node can do


@pytest.mark.parametrize("role", [*READERS, "service", "acme"])
async def test_nobody_else_writes_an_event(node: Client, connect: Connect, role: str) -> None:
    client = await connect(role)

    await refused(client.jetstream().publish(FORGED, b"{}", stream=subjects.EVENTS))
    await client.publish(FORGED, b"{}")
    await everyone_spoke(client)

    assert await stored(node, subjects.EVENTS) == 0


@pytest.mark.parametrize("role", [*READERS, "service", "acme"])
async def test_no_answer_of_the_broker_becomes_an_event(
    node: Client, connect: Connect, role: str
) -> None:
    """The broker answers wherever the reply subject says, so that must not be the log."""
    client = await connect(role)
    requests = [
        "$JS.API.INFO",
        f"$JS.API.STREAM.INFO.{subjects.EVENTS}",
        f"$JS.API.CONSUMER.CREATE.{subjects.EVENTS}",
        f"$JS.API.DIRECT.GET.KV_{subjects.KEYS}",
        f"$KV.{subjects.KEYS}.forged",
        subjects.create_command("acme"),
        subjects.ask(subjects.SessionId("acme", "bot"), "chats"),
        "wa.dead.x",
    ]

    for request in requests:
        await client.publish(request, b"{}", reply=FORGED)
        await client.publish(request, b"{}", reply=subjects.session_command(VICTIM, "delete"))
    await everyone_spoke(client)

    assert await stored(node, subjects.EVENTS) == 0
    held = (await node.jetstream().stream_info(subjects.COMMANDS, subjects_filter=">")).state
    assert set(held.subjects or {}) <= {subjects.create_command("acme")}


@pytest.mark.parametrize("role", READERS)
async def test_no_reader_has_its_reading_delivered_into_the_log(
    node: Client, connect: Connect, role: Role
) -> None:
    client = await connect(role)
    if role == "gateway":
        await (await client.jetstream().key_value(subjects.IDEMPOTENCY)).put("x", b"forged")
    await node.jetstream().publish(subjects.session_event(VICTIM, "claimed"), b"{}")

    for stream in (subjects.EVENTS, f"KV_{subjects.IDEMPOTENCY}"):
        for target in (FORGED, subjects.session_command(VICTIM, "delete")):
            config = ConsumerConfig(deliver_subject=target, ack_policy=AckPolicy.NONE)
            with contextlib.suppress(JetStreamError, NatsError, TimeoutError):
                await client.jetstream(timeout=1).add_consumer(stream, config)
    await asyncio.sleep(0.5)

    assert await stored(node, subjects.EVENTS) == 1
    assert await stored(node, subjects.COMMANDS) == 0


@pytest.mark.parametrize("role", [*READERS, "service", "acme"])
async def test_nobody_else_touches_the_streams(node: Client, connect: Connect, role: str) -> None:
    await node.jetstream().publish(FORGED, b"{}")
    await node.jetstream().publish(subjects.send_command(VICTIM), b"{}")
    js = (await connect(role)).jetstream(timeout=1)

    for stream in (subjects.EVENTS, subjects.COMMANDS, f"KV_{subjects.LEASES}"):
        await refused(js.purge_stream(stream))
        await refused(js.delete_msg(stream, 1))
        await refused(js.update_stream(StreamConfig(name=stream, max_msgs=1)))
        await refused(js.delete_stream(stream))
    await refused(js.add_stream(StreamConfig(name="MINE", subjects=["mine"])))
    # A reader of the command queue would take commands away from their session.
    await refused(js.add_consumer(subjects.COMMANDS, ConsumerConfig(name="thief")))

    assert await stored(node, subjects.EVENTS) == 1
    assert await stored(node, subjects.COMMANDS) == 1


@pytest.mark.parametrize("role", READERS)
async def test_no_reader_copies_a_stream_or_brings_one_back(
    node: Client, connect: Connect, role: Role
) -> None:
    """Who asks for a copy says where it is delivered, and that could be the log."""
    await node.jetstream().publish(subjects.session_event(VICTIM, "claimed"), b"{}")
    client = await connect(role)

    for target in (FORGED, client.new_inbox()):
        asked = json.dumps({"deliver_subject": target}).encode()
        await refused(client.request(f"$JS.API.STREAM.SNAPSHOT.{subjects.EVENTS}", asked))
    made = json.dumps({"config": {"name": "MINE", "subjects": ["mine"]}, "state": {}}).encode()
    await refused(client.request("$JS.API.STREAM.RESTORE.MINE", made))

    assert await stored(node, subjects.EVENTS) == 1


@pytest.mark.parametrize("role", ["projector", "ops"])
async def test_a_mere_reader_commands_nothing_and_keeps_nothing(
    node: Client, connect: Connect, role: Role
) -> None:
    client = await connect(role)

    await refused(client.jetstream().publish(subjects.create_command("acme"), b"{}"))
    await refused(client.jetstream().publish("wa.dead.x", b"{}"))
    await refused(client.request(subjects.ask(VICTIM, "chats"), timeout=1))
    for bucket in (subjects.LEASES, subjects.KEYS, subjects.IDEMPOTENCY, subjects.HOOKS):
        await refused(client.jetstream().publish(f"$KV.{bucket}.x", b"{}"))
        await refused(client.request(f"$JS.API.STREAM.MSG.GET.KV_{bucket}", b"{}", timeout=1))

    assert await stored(node, subjects.COMMANDS) == 0


async def test_the_gateway_takes_no_lease(node: Client, connect: Connect) -> None:
    js = (await connect("gateway")).jetstream()

    await refused(js.publish(f"$KV.{subjects.LEASES}.{VICTIM.dotted}", b"mine"))

    assert await stored(node, f"KV_{subjects.LEASES}") == 0


@pytest.mark.parametrize("role", [*READERS, "service", "acme"])
async def test_nobody_else_shows_a_code_or_answers_a_question(
    node: Client, connect: Connect, role: str
) -> None:
    codes = await heard(node, subjects.ALL_LIVE)
    client = await connect(role)
    questions = await heard(client, "wa.ask.>")

    await client.publish(subjects.live(VICTIM, "qr"), b"forged")
    with contextlib.suppress(NoRespondersError):
        await node.request(subjects.ask(VICTIM, "chats"), timeout=0.5)
    await everyone_spoke(client, node)

    assert codes == []
    assert questions == []


@pytest.mark.parametrize("role", [*READERS, "service", "acme"])
async def test_nobody_hears_what_is_answered_to_another(
    node: Client, connect: Connect, role: str
) -> None:
    found = await heard(await connect(role), ">")

    await node.jetstream().account_info()
    await everyone_spoke(node)

    assert [m.subject for m in found if m.subject.startswith("_INBOX_node")] == []


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_needs_its_own_password(server: services.NatsServer, role: Role) -> None:
    for wrong in (None, "wrong", password("acme")):
        settings = Settings(nats_url=server.url, nats_password=wrong)  # type: ignore[arg-type]
        with pytest.raises(connection.NoBroker):
            await connection.connect(settings, role, name="test", patience=0.3)


# A tenant's own service


async def test_a_service_commands_asks_and_hears_every_session(
    node: Client, connect: Connect
) -> None:
    service = await connect("service")
    codes = await heard(service, subjects.ALL_LIVE)
    events = await heard(service, subjects.ALL_EVENTS)

    await service.jetstream().publish(subjects.send_command(VICTIM), b"{}")
    await node.publish(subjects.live(VICTIM, "qr"), b"code")
    await node.publish(FORGED, b"{}")
    await everyone_spoke(node)

    assert await stored(node, subjects.COMMANDS) == 1
    assert [message.data for message in codes] == [b"code"]
    assert [message.subject for message in events] == [FORGED]


async def test_a_tenant_commands_its_own_sessions(node: Client, connect: Connect) -> None:
    js = (await connect("acme")).jetstream()
    mine = subjects.SessionId("acme", "bot")

    for subject in (
        subjects.create_command("acme"),
        subjects.session_command(mine, "restart"),
        subjects.send_command(mine),
    ):
        ack = await js.publish(subject, b"{}")

        assert ack.stream == subjects.COMMANDS


async def test_a_tenant_commands_and_asks_nobody_elses(node: Client, connect: Connect) -> None:
    asked = await heard(node, "wa.ask.>")
    client = await connect("acme")

    for subject in (
        subjects.create_command("other"),
        subjects.session_command(VICTIM, "delete"),
        subjects.send_command(VICTIM),
        "wa.cmd.session.acme.bot.restart.more",
        "wa.dead.x",
    ):
        await refused(client.jetstream().publish(subject, b"{}"))
        await client.publish(subject, b"{}")
    await refused(client.request(subjects.ask(VICTIM, "screenshot"), timeout=1))
    await everyone_spoke(client)

    assert await stored(node, subjects.COMMANDS) == 0
    assert asked == []


async def test_a_tenant_hears_its_own_sessions_only(node: Client, connect: Connect) -> None:
    found = await heard(await connect("acme"), "wa.>")
    mine = subjects.SessionId("acme", "bot")

    for session in (mine, VICTIM):
        await node.publish(subjects.session_event(session, "ready"), b"{}")
        await node.publish(subjects.message_event(session, "received"), b"{}")
        await node.publish(subjects.live(session, "qr"), b"{}")
        await node.publish(subjects.send_command(session), b"{}")
    await node.publish(subjects.pool_event("node", "started"), b"{}")
    await everyone_spoke(node)

    assert {message.subject for message in found} == {
        subjects.session_event(mine, "ready"),
        subjects.message_event(mine, "received"),
        subjects.live(mine, "qr"),
    }


async def test_a_tenant_reads_no_stream(node: Client, connect: Connect) -> None:
    client = await connect("acme")

    for request in ("INFO", "STREAM.NAMES", f"STREAM.INFO.{subjects.EVENTS}"):
        with pytest.raises((NatsError, JetStreamError)):
            await api(client.jetstream(timeout=1), request)


async def api(js: JetStreamContext, request: str) -> object:
    """Ask the JetStream API of the client's own account."""
    if request == "INFO":
        return await js.account_info()
    if request == "STREAM.NAMES":
        return await js.find_stream_name_by_subject(subjects.ALL_EVENTS)
    return await js.stream_info(subjects.EVENTS)


# The settings of the server itself


async def test_an_event_as_large_as_the_streams_take_fits(node: Client) -> None:
    assert node.max_payload >= 2 * streams.MAX_BYTES

    ack = await node.jetstream().publish(FORGED, b"x" * (streams.MAX_BYTES - 10_000))

    assert ack.seq == 1


def test_every_acknowledged_write_is_on_the_disk() -> None:
    assert "sync_interval: always" in CONF.read_text()


def test_the_server_listens_on_loopback_only() -> None:
    assert "host: 127.0.0.1" in CONF.read_text()
