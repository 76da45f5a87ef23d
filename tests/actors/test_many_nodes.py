"""Nodes beside each other: who has a session, and who gets it when its node is gone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.session import SessionActor
from actors.session_messages import Halt, Message
from events.subjects import SessionId
from tests.actors.world import NUMBER, World, a_world
from tests.fakes.browser import FakeBrowser

ANN, BOB = SessionId("ann", "bot"), SessionId("bob", "bot")
TTL = 15
CLAIMED = "wa.session.claimed.v1"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path / "n1", node="n1", vault_after=1) as world:
        yield world


@pytest.fixture
def two(one: World, tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path / "n2", beside=one, node="n2", vault_after=1) as world:
        one.until(lambda: one.advance(1) or one.leases.others())
        yield world


def ready_on(world: World, session: SessionId) -> bool:
    """Whether the session is ready, and this node wrote so."""
    claimed = world.envelopes(session, "claimed")[-1]
    return world.word(session) == "ready" and claimed.node == world.settings.node


def saved(world: World, session: SessionId) -> None:
    """Let the session's profile come into the vault."""
    before = len(world.envelopes(session, "profile_saved"))
    world.until(lambda: world.advance(1) or len(world.envelopes(session, "profile_saved")) > before)


def test_what_a_dead_node_had_is_ready_on_another_without_a_scan(one: World, two: World) -> None:
    for number, session in enumerate((ANN, BOB)):
        one.linked(session, f"1555000{number:04}")
        saved(one, session)

    one.die()
    two.until(lambda: two.advance(1) or (ready_on(two, ANN) and ready_on(two, BOB)))

    assert len(two.envelopes(ANN, "pairing")) == 1
    assert two.envelopes(ANN, "profile_restored")[-1].data["older"] is False
    assert two.leases.board.get("session.ann-bot").holder is two.leases  # type: ignore[union-attr]


def test_a_node_that_was_cut_off_lets_go_and_writes_nothing_more(one: World, two: World) -> None:
    one.linked(ANN)
    saved(one, ANN)
    browser = one.browser(ANN)

    one.leases.away = True
    two.until(lambda: two.advance(1) or ready_on(two, ANN))
    assert browser.running
    one.leases.away = False
    one.until(lambda: one.advance(1) or not browser.running)

    of_ann = [s.envelope for s in two.log.events if s.envelope.subject == ANN.dotted]
    claimed = next(place for place, e in enumerate(of_ann) if e.type == CLAIMED and e.node == "n2")
    assert {envelope.node for envelope in of_ann[claimed:]} == {"n2"}


def test_an_outage_of_the_broker_costs_a_node_that_is_alone_nothing(one: World) -> None:
    one.linked(ANN)

    one.leases.away = True
    for _ in range(60):
        one.advance(1)
    one.leases.away = False
    for _ in range(10):
        one.advance(1)

    assert one.browser(ANN).running
    assert len(one.envelopes(ANN, "claimed")) == 1


def test_a_lease_that_lapsed_while_another_had_the_session_ends_it_here(
    one: World, two: World
) -> None:
    one.linked(ANN)
    saved(one, ANN)
    browser = one.browser(ANN)
    one.leases.away = True
    two.until(lambda: two.advance(1) or ready_on(two, ANN))

    two.die()
    for _ in range(TTL + 1):
        one.clock.advance(1)
    one.leases.away = False

    one.until(lambda: one.advance(1) or not browser.running)
    one.until(lambda: one.advance(1) or ready_on(one, ANN))


def test_a_lease_that_comes_back_waits_for_the_browser_that_goes(
    one: World, two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.linked(ANN)
    saved(one, ANN)
    first, close = one.browser(ANN), FakeBrowser.close
    closing, go = threading.Event(), threading.Event()

    async def slowly(self: FakeBrowser) -> bool:
        if self is first:
            closing.set()
            while not go.is_set():
                await asyncio.sleep(0.002)
        return await close(self)

    monkeypatch.setattr(FakeBrowser, "close", slowly)
    one.leases.away = True
    two.until(lambda: two.advance(1) or ready_on(two, ANN))
    one.leases.away = False
    one.until(lambda: one.clock.advance(1) or time.sleep(0.002) or closing.is_set())

    two.die()

    def taken() -> bool:
        one.clock.advance(1)
        time.sleep(0.002)
        return one.board.entries["session.ann-bot"].holder is one.leases

    one.until(taken)
    assert one.pool is not None
    one.pool.ask(None)
    assert [b for b in one.launcher.browsers if b.owner == "ann-bot"] == [first]
    go.set()

    one.until(lambda: one.advance(1) or ready_on(one, ANN))


def test_a_profile_that_another_node_used_since_is_not_trusted(one: World, two: World) -> None:
    one.linked(ANN)
    saved(one, ANN)
    first = one.state(ANN).generation
    drain(one)
    two.until(lambda: two.advance(1) or ready_on(two, ANN))
    saved(two, ANN)

    one.stop()
    one.start()
    two.until(lambda: two.advance(1) or any(word.has_room for word in two.leases.others()))
    drain(two)
    one.until(lambda: one.advance(1) or ready_on(one, ANN))

    restored = one.envelopes(ANN, "profile_restored")[-1].data
    assert restored["generation"] > first
    assert restored["older"] is False


def test_a_session_that_shows_a_code_is_not_failed_over_but_rests(one: World, two: World) -> None:
    one.create(ANN)
    one.wait_for(ANN, "pairing")

    one.die()
    two.until(lambda: two.advance(1) or two.envelopes(ANN, "rested"))

    assert two.envelopes(ANN, "rested")[-1].data["reason"] == "owner_lost"
    assert two.word(ANN) == "disconnected"
    two.create(ANN)
    two.wait_for(ANN, "pairing", 2)


def test_an_account_belongs_to_one_session_at_a_time(one: World, two: World) -> None:
    one.linked(ANN)
    one.create(BOB)
    one.wait_for(BOB, "pairing")

    owner = one if one.envelopes(BOB, "claimed")[-1].node == "n1" else two
    owner.browser(BOB).scan(NUMBER)
    one.wait_for(BOB, "parked")

    assert one.envelopes(BOB, "parked")[-1].data["reason"] == "account_in_use"
    assert one.word(ANN) == "ready"


def test_an_account_that_is_logged_out_is_free_for_another_session(one: World) -> None:
    one.linked(ANN)
    one.whatsapp.unlink(NUMBER)
    one.wait_for(ANN, "logged_out")

    one.linked(BOB)

    assert one.word(BOB) == "ready"


def test_a_create_lands_where_there_is_room(tmp_path: Path) -> None:
    with (
        a_world(tmp_path / "n1", node="n1", node_sessions=1) as one,
        a_world(tmp_path / "n2", beside=one, node="n2") as two,
    ):
        one.until(lambda: one.advance(1) or one.leases.others())
        one.create(ANN)
        one.wait_for(ANN, "pairing")

        one.create(BOB)
        one.wait_for(BOB, "pairing")

        nodes = {one.envelopes(session, "claimed")[0].node for session in (ANN, BOB)}
        assert nodes == {"n1", "n2"}
        assert not one.creates.is_open or not two.creates.is_open


def test_a_node_without_room_takes_creates_where_nobody_has_any(tmp_path: Path) -> None:
    with a_world(tmp_path, node="n1") as world:
        world.machine.available = 10
        for _ in range(10):
            world.advance(1)

        world.create(ANN)

        world.wait_for(ANN, "queued")


def test_a_create_for_a_session_of_another_node_reaches_it(one: World, two: World) -> None:
    drain(one)
    two.linked(ANN)
    one.stop()
    one.start()
    one.until(lambda: one.advance(1) or one.creates.is_open)
    two.creates.is_open = False

    asked = one.create(ANN, fresh=True)

    two.wait_for(ANN, "pairing", 2)
    assert any(e.causationid == asked.id for e in two.envelopes(ANN, "queued"))
    assert two.envelopes(ANN, "claimed")[-1].node == "n2"


def test_a_drain_hands_everything_over_and_the_node_takes_nothing_more(
    one: World, two: World
) -> None:
    for number, session in enumerate((ANN, BOB)):
        one.linked(session, f"1555000{number:04}")

    answer = drain(one)
    two.until(lambda: two.advance(1) or (ready_on(two, ANN) and ready_on(two, BOB)))

    assert answer["data"] == {"node": "n1", "left": 2}
    assert one.pool_data("node_draining") == {"left": 0, "total": 2}
    assert len(two.envelopes(ANN, "pairing")) == 1
    two.create(SessionId("cid", "bot"))
    two.wait_for(SessionId("cid", "bot"), "pairing")
    assert two.envelopes(SessionId("cid", "bot"), "claimed")[0].node == "n2"


def test_a_drain_hands_over_what_fell_and_has_not_come_back(
    one: World, two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, session in enumerate((ANN, BOB)):
        one.linked(session, f"1555000{number:04}")
    receive = SessionActor._receive
    struck: list[object] = []

    def strike_once(self: SessionActor, message: Message) -> None:
        if self.identity == ANN and not struck:
            struck.append(message)
            raise RuntimeError("a bug")
        receive(self, message)

    monkeypatch.setattr(SessionActor, "_receive", strike_once)
    one.browser(ANN).drop()
    one.until(lambda: not one.browser(ANN).running)

    drain(one)

    two.until(lambda: two.advance(1) or (ready_on(two, ANN) and ready_on(two, BOB)))
    assert one.pool_data("node_draining")["left"] == 0


def test_a_drain_hands_over_what_falls_meanwhile(
    one: World, two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.linked(ANN)
    receive = SessionActor._receive
    struck: list[object] = []

    def strike_once(self: SessionActor, message: Message) -> None:
        if isinstance(message, Halt) and not struck:
            struck.append(message)
            raise RuntimeError("a bug")
        receive(self, message)

    monkeypatch.setattr(SessionActor, "_receive", strike_once)
    drain(one)

    # Its profile was never saved before, and is now: the link holds on the other node.
    two.until(lambda: two.advance(1) or ready_on(two, ANN))
    assert struck
    assert one.pool_data("node_draining")["left"] == 0


def test_a_drain_is_refused_where_nobody_could_take_the_sessions(one: World) -> None:
    one.linked(ANN)

    answer = drain(one)

    assert answer["error"]["status"] == 409
    assert one.word(ANN) == "ready"


def test_a_node_that_stops_hands_its_sessions_over(one: World, two: World) -> None:
    one.linked(ANN)

    one.stop()
    two.until(lambda: two.advance(1) or ready_on(two, ANN))

    assert two.envelopes(ANN, "profile_restored")[-1].data["older"] is False


def test_a_session_waits_for_the_node_that_had_it(one: World, two: World) -> None:
    one.linked(ANN)
    drain(one)
    two.until(lambda: two.advance(1) or ready_on(two, ANN))
    one.stop()
    two.die()
    one.clock.advance(TTL + 1)

    one.start()
    for _ in range(20):
        one.advance(1)

    assert one.envelopes(ANN, "claimed")[-1].node == "n2"
    one.until(lambda: one.advance(1) or ready_on(one, ANN))


def test_a_node_that_begins_again_has_its_sessions_at_once(one: World) -> None:
    one.linked(ANN)

    one.kill()
    one.start()
    one.wait_for(ANN, "ready", 2)

    assert one.clock.monotonic() < TTL


def drain(world: World) -> dict[str, object]:
    """Ask a node to hand over what it has; its answer."""
    answers: list[bytes] = []
    world.wire.drains[world.settings.node](answers.append)
    world.until(lambda: answers)
    answer: dict[str, object] = json.loads(answers[0])
    return answer
