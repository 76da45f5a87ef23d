"""Leases between nodes: in memory, on one nats-server, and on three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from nats.aio.client import Client

from actors.leases import ACCOUNT_LIVES, Freed, Lapsed, Leases, Lost, News, NodeWord
from actors.nats_leases import NatsLeases
from events import connection
from events.clock import SystemClock
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests import services
from tests.fakes.clock import VirtualClock
from tests.fakes.leases import Board, FakeLeases

ANN, BOB = SessionId("ann", "bot"), SessionId("bob", "bot")
PHONE = "15550001111@c.us"
TTL = 3.0


@dataclass
class Node:
    """One node's leases, and the news it heard."""

    leases: Leases
    end: Callable[[], Awaitable[None]]
    news: list[News] = field(default_factory=list[News])

    async def hears(self, wanted: News) -> None:
        """Wait for a piece of news."""
        async with asyncio.timeout(20):
            while wanted not in self.news:
                await asyncio.sleep(0.02)


@dataclass
class Fleet:
    """Makes nodes, and lets time pass."""

    make: Callable[[str], Awaitable[Node]]
    pass_time: Callable[[float], Awaitable[None]]

    async def node(self, name: str) -> Node:
        """Begin a life of a node."""
        node = await self.make(name)
        await node.leases.open(node.news.append)
        return node


async def _in_memory() -> AsyncIterator[Fleet]:
    clock = VirtualClock()
    board = Board(clock, ttl=TTL)

    async def make(name: str) -> Node:
        leases = FakeLeases(board, name)

        async def end() -> None:
            leases.end()

        return Node(leases, end)

    async def pass_time(seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            clock.advance(0.1)

    yield Fleet(make, pass_time)


async def _on_nats(url: str, replicas: int) -> AsyncIterator[Fleet]:
    clients: list[Client] = []

    async def make(name: str) -> Node:
        settings = Settings(nats_url=url, replicas=replicas)
        client = await connection.connect(settings, "node", name=name)
        clients.append(client)
        await declare(client.jetstream(), settings)
        leases = NatsLeases(client, SystemClock(asyncio.get_running_loop()), name, TTL)

        async def end() -> None:
            await client.close()

        return Node(leases, end)

    yield Fleet(make, asyncio.sleep)
    for client in clients:
        await client.close()


@pytest.fixture(
    params=[
        "memory",
        pytest.param("one server", marks=pytest.mark.services),
        pytest.param("three servers", marks=pytest.mark.services),
    ]
)
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    match request.param:
        case "memory":
            made = _in_memory()
        case "one server":
            made = _on_nats(request.getfixturevalue("nats_url"), 1)
        case _:
            cluster: services.NatsCluster = request.getfixturevalue("cluster")
            made = _on_nats(cluster.url, 3)
    async for fleet in made:
        yield fleet


async def test_a_lease_belongs_to_one_node_and_is_kept_by_renewal(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")

    assert await one.leases.take(ANN)
    assert not await two.leases.take(ANN)
    await fleet.pass_time(2 * TTL)

    assert not await two.leases.take(ANN)
    assert await one.leases.take(ANN)
    assert await two.leases.held() == {ANN}
    assert one.news == []


async def test_of_many_who_reach_for_it_one_gets_it(fleet: Fleet) -> None:
    nodes = [await fleet.node(f"n{number}") for number in range(5)]

    took = await asyncio.gather(*(node.leases.take(ANN) for node in nodes))

    assert sorted(took) == [False, False, False, False, True]


async def test_the_lease_of_a_node_that_ended_runs_out(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take(ANN)

    await one.end()
    assert not await two.leases.take(ANN)
    await fleet.pass_time(TTL + 1.5)

    assert await two.leases.held() == frozenset()
    assert await two.leases.take(ANN)


async def test_what_an_earlier_life_of_a_node_held_is_that_nodes_at_once(fleet: Fleet) -> None:
    before = await fleet.node("n1")
    await before.leases.take(ANN)
    await before.leases.take_account(ANN, PHONE)
    await before.end()

    after = await fleet.node("n1")

    assert await after.leases.take(ANN)
    assert await after.leases.take_account(ANN, PHONE)


async def test_what_is_handed_over_is_free_at_once_and_told(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take(ANN)

    await one.leases.release(ANN, hand_over=True)
    await two.hears(Freed(ANN))

    assert await two.leases.take(ANN)
    assert not await one.leases.take(ANN)
    assert one.news == []


async def test_a_phone_account_belongs_to_one_session(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    assert await one.leases.take_account(ANN, PHONE)

    assert not await one.leases.take_account(BOB, PHONE)
    assert not await two.leases.take_account(BOB, PHONE)
    assert await one.leases.take_account(ANN, PHONE)


async def test_an_account_outlives_its_node_for_other_sessions_and_not_for_its_own(
    fleet: Fleet,
) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take(ANN)
    await one.leases.take_account(ANN, PHONE)

    await one.end()
    await fleet.pass_time(TTL + 1.5)

    assert not await two.leases.take_account(BOB, PHONE)
    assert await two.leases.take(ANN)
    assert await two.leases.take_account(ANN, PHONE)


async def test_an_account_of_a_session_that_nobody_took_over_is_free_in_the_end(
    fleet: Fleet,
) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take_account(ANN, PHONE)

    await one.end()
    await fleet.pass_time(TTL * ACCOUNT_LIVES + 1.5)

    assert await two.leases.take_account(BOB, PHONE)


async def test_an_account_is_kept_by_renewal(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take_account(ANN, PHONE)

    await fleet.pass_time(TTL * (ACCOUNT_LIVES + 1))

    assert not await two.leases.take_account(BOB, PHONE)
    assert one.news == []


async def test_an_account_is_free_when_its_session_lets_go_of_it_or_has_another(
    fleet: Fleet,
) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    await one.leases.take(ANN)
    await one.leases.take_account(ANN, PHONE)

    assert await one.leases.take_account(ANN, "15550002222@c.us")
    assert await two.leases.take_account(BOB, PHONE)
    await one.leases.release(ANN, hand_over=False)

    assert await two.leases.take_account(BOB, "15550002222@c.us")


async def test_nodes_hear_of_each_other_and_no_longer_of_one_that_ended(fleet: Fleet) -> None:
    one, two = await fleet.node("n1"), await fleet.node("n2")
    word = NodeWord("n1", sessions=7, has_room=True)

    async with asyncio.timeout(30):
        while two.leases.others() != (word,):
            await one.leases.say(word)
            await asyncio.sleep(0.02)
    async with asyncio.timeout(30):
        while (await fleet.node("n3")).leases.others() != (word,):
            await one.leases.say(word)
    assert one.leases.others() == ()
    await one.end()
    await fleet.pass_time(TTL + 1)

    assert two.leases.others() == ()


@pytest.mark.services
class TestOnNats:
    """What needs a broker that goes away, or two lives of one process."""

    async def test_an_outage_that_outlasts_the_lease_costs_a_node_nothing_but_a_doubt(
        self, own_nats: services.NatsServer
    ) -> None:
        async for fleet in _on_nats(own_nats.url, 1):
            node = await fleet.node("n1")
            await node.leases.take(ANN)

            own_nats.kill()
            await asyncio.sleep(TTL + 2)
            own_nats.start()
            await node.hears(Lapsed(ANN))

            assert await node.leases.held() == {ANN}

    async def test_a_lease_that_is_anothers_by_now_is_heard_to_be_lost(self, nats_url: str) -> None:
        async for fleet in _on_nats(nats_url, 1):
            one, two = await fleet.node("n1"), await fleet.node("n2")
            await one.leases.take(ANN)
            client = await connection.connect(Settings(nats_url=nats_url), "node", name="broker")

            # As if it had run out while the first slept.
            await client.jetstream().purge_stream(
                "KV_wa_lease", subject=f"$KV.wa_lease.*.{ANN.dotted}"
            )
            assert await two.leases.take(ANN)
            await one.hears(Lost(ANN))

            assert await two.leases.held() == {ANN}
            await client.close()
