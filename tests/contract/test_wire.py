"""A node's inboxes on a real broker, when the broker goes away under them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from nats.aio.client import Client

from actors import nats_inbox
from actors.inbox import Delivered, Inbox
from actors.wire import NatsWire
from events import codec, connection, subjects
from events.clock import utc_now
from events.message import Send
from events.pool import Create
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests import services

SESSION = SessionId("ann", "bot")


class Node:
    """A wire, and what its inbox brought; each command is settled at once, or never."""

    def __init__(self, client: Client, *, settles: bool = True) -> None:
        self.client, self.settles = client, settles
        self.wire = NatsWire(client, "test")
        self.brought: asyncio.Queue[str] = asyncio.Queue()
        self.inbox: Inbox | None = None
        self.back = asyncio.Event()
        self._last: Delivered | None = None

    async def open(self) -> None:
        """Listen; the gate is closed."""
        loop = asyncio.get_running_loop()

        def bring(delivered: Delivered) -> None:
            self._last = delivered
            loop.call_soon_threadsafe(self.brought.put_nowait, delivered.envelope.id)
            if self.settles:
                delivered.receipt.done()

        self.inbox = await self.wire.open_inbox(
            SESSION, control=lambda _: None, sends=bring, asked=lambda _: None
        )

    def settle(self) -> None:
        """Settle what was brought last."""
        assert self._last is not None
        self._last.receipt.done()

    async def send(self, key: str) -> None:
        """Put a send into the queue, as the gateway does."""
        deadline = utc_now() + timedelta(hours=1)
        command = codec.seal(
            Send(message=key, to="1@c.us", body="hi", deadline=deadline),
            subject=SESSION.dotted,
            source="test",
            at=utc_now(),
            event_id=key,
        )
        subject, told = subjects.send_command(SESSION), codec.encode(command)
        while True:
            # Of three servers one may have been lost just now.
            with contextlib.suppress(*connection.AWAY):
                await self.client.jetstream().publish(subject, told, headers={"Nats-Msg-Id": key})
                return
            await asyncio.sleep(0.1)

    def gate(self, is_open: bool) -> None:
        """Let sends through, or not."""
        assert self.inbox is not None
        self.inbox.gate(is_open)

    async def until_settled(self) -> None:
        """Wait until the queue is empty."""
        js = self.client.jetstream()
        while (await js.stream_info(subjects.COMMANDS)).state.messages:
            await asyncio.sleep(0.01)

    async def next(self) -> str:
        """Wait for the next command, for less than an empty pull may last."""
        return await asyncio.wait_for(self.brought.get(), nats_inbox.PULL / 2)


@pytest.fixture
async def node(own_nats: services.NatsServer) -> AsyncIterator[Node]:
    settings = Settings(nats_url=own_nats.url)
    made: list[Node] = []

    async def reconnected() -> None:
        for each in made:
            each.wire.renew()
            each.back.set()

    client = await connection.connect(settings, "node", name="test", reconnected=reconnected)
    await declare(client.jetstream(), settings)
    made.append(Node(client))
    await made[0].open()
    yield made[0]
    if made[0].inbox is not None:
        made[0].inbox.close()
    await client.close()


async def test_commands_come_at_once_after_the_broker_was_away(
    node: Node, own_nats: services.NatsServer
) -> None:
    node.gate(True)
    await node.send("before")
    assert await node.next() == "before"
    await node.until_settled()

    own_nats.kill()
    own_nats.start()
    await asyncio.wait_for(node.back.wait(), 10)
    await node.send("after")

    assert await node.next() == "after"


async def test_a_consumer_that_somebody_deleted_is_made_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The broker does not tell whoever waits; the next pull finds out.
    monkeypatch.setattr(nats_inbox, "PULL", 1.0)
    node.gate(True)
    await node.send("before")
    assert await node.next() == "before"
    await node.until_settled()

    name = f"outbox={SESSION.user}={SESSION.bot}"
    await node.client.jetstream().delete_consumer(subjects.COMMANDS, name)
    await node.send("after")

    assert await asyncio.wait_for(node.brought.get(), 30) == "after"


async def test_a_closed_inbox_leaves_nothing_behind_on_the_connection(node: Node) -> None:
    other = Node(node.client)
    before = set(node.client._subs)

    for _ in range(3):
        await other.open()
        other.gate(True)
        assert len(node.client._subs) > len(before)
        assert other.inbox is not None
        other.inbox.close()

        while set(node.client._subs) - before:
            await asyncio.sleep(0.01)


async def test_what_comes_for_an_id_after_its_removal_is_kept(node: Node) -> None:
    await node.send("of the old one")
    place = await node.wire.place()
    await node.send("of the new one")

    await node.wire.forget(SESSION, place, 0)

    kept = [pending.envelope.id for pending in await node.wire.pending_sends(SESSION)]
    assert kept == ["of the new one"]


async def test_a_create_that_comes_later_holds_up_no_other(node: Node) -> None:
    loop = asyncio.get_running_loop()
    brought: asyncio.Queue[str] = asyncio.Queue()

    def bring(delivered: Delivered) -> None:
        if delivered.envelope.id == "slow":
            delivered.receipt.later(30)
        else:
            delivered.receipt.done()
        loop.call_soon_threadsafe(brought.put_nowait, delivered.envelope.id)

    creates = await node.wire.open_creates(bring)
    creates.gate(True)
    for key in ("slow", "quick"):
        create = codec.seal(
            Create(bot="bot"), subject="ann", source="test", at=utc_now(), event_id=key
        )
        subject = subjects.create_command("ann")
        await node.client.jetstream().publish(subject, codec.encode(create))

    assert [await brought.get(), await asyncio.wait_for(brought.get(), 10)] == ["slow", "quick"]
    creates.close()


async def test_what_went_to_a_dead_connection_is_not_overtaken(node: Node) -> None:
    dead = await node.client.jetstream().pull_subscribe_bind(
        consumer=f"outbox={SESSION.user}={SESSION.bot}", stream=subjects.COMMANDS
    )
    await node.send("first")
    await node.send("second")
    [lost] = await dead.fetch(1, timeout=5)
    assert codec.decode(lost.data).id == "first"

    node.wire.renew()
    node.gate(True)

    assert [await node.next(), await node.next()] == ["first", "second"]


async def test_what_an_owner_takes_that_lost_the_session_is_not_overtaken(node: Node) -> None:
    stale = Node(node.client, settles=False)
    await stale.open()
    assert node.inbox is not None
    node.inbox.close()
    await node.open()
    await node.send("first")
    await node.send("second")

    stale.gate(True)
    assert await stale.next() == "first"
    node.gate(True)
    # It learns of its loss when it wants to write, and closes.
    assert stale.inbox is not None
    stale.inbox.close()

    assert [await node.next(), await node.next()] == ["first", "second"]


# --- a broker of three servers ------------------------------------------------


@pytest.fixture
async def far(cluster: services.NatsCluster) -> AsyncIterator[Node]:
    """A node whose broker keeps three copies of all; it talks to the first server only."""
    settings = Settings(nats_url=cluster.servers[0].url, replicas=3)
    client = await connection.connect(settings, "node", name="test", patience=30)
    await declare(client.jetstream(timeout=10), settings)
    node = Node(client)
    await node.wire.watch()
    await node.open()
    yield node
    if node.inbox is not None:
        node.inbox.close()
    await client.close()


async def led_elsewhere(node: Node, cluster: services.NatsCluster) -> services.NatsServer:
    """Have the outbox led by a server that the node does not talk to, and return that one."""
    name = f"{subjects.COMMANDS}.outbox={SESSION.user}={SESSION.bot}"
    while True:
        told = await node.client.request(f"$JS.API.CONSUMER.INFO.{name}", timeout=5)
        leader = json.loads(told.data).get("cluster", {}).get("leader")
        found = [each for each in cluster.servers[1:] if each.name == leader]
        if found:
            return found[0]
        if leader is not None:
            await node.client.request(f"$JS.API.CONSUMER.LEADER.STEPDOWN.{name}", timeout=5)
        await asyncio.sleep(0.1)


async def test_commands_come_though_the_server_that_knew_of_the_pull_is_lost(
    far: Node, cluster: services.NatsCluster
) -> None:
    far.gate(True)
    leader = await led_elsewhere(far, cluster)
    await far.send("before")
    assert await far.next() == "before"
    await far.until_settled()

    leader.kill()
    await far.send("after")

    assert await far.next() == "after"


async def test_an_ack_that_a_lost_server_took_along_is_said_again(
    far: Node, cluster: services.NatsCluster
) -> None:
    far.settles = False
    far.gate(True)
    leader = await led_elsewhere(far, cluster)
    await far.send("one")
    await far.send("two")
    assert await far.next() == "one"

    leader.pause()
    far.settle()

    # Given out anew, the first would come before the second.
    assert await far.next() == "two"
    leader.resume()
