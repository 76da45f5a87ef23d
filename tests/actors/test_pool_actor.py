"""The pool: limits, supervision, slots, and commands to nobody."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pykka
import pytest

from actors.session import SessionActor
from actors.session_messages import Message
from events import session_events as e
from events.envelope import Envelope
from events.log import Guard
from events.message import Send
from events.pool import Create
from events.subjects import SessionId
from tests.actors.world import World, a_world, refusals

ANN, BOB, CID = (SessionId(user, "bot") for user in ("ann", "bob", "cid"))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[World]:
    """Two sessions that are ready: what befalls one must not reach the other."""
    with a_world(tmp_path) as world:
        world.linked(ANN, "15550001111")
        world.linked(BOB, "15550002222")
        yield world


def actor_of(session: SessionId) -> pykka.ActorRef[SessionActor]:
    refs = pykka.ActorRegistry.get_by_class(SessionActor)
    return next(ref for ref in refs if ref.proxy().identity.get() == session)


def answers(world: World, session: SessionId) -> bool:
    return asyncio.run(world.wire.ask(session, "status")).error is None


def test_twenty_creates_of_one_user_give_five_sessions_and_fifteen_refusals(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        for number in range(20):
            world.create(SessionId("ann", f"bot{number}"))

        world.until(lambda: len(refusals(world)) == 15)
        assert world.kinds().count("session.registered") == 5
        assert {(r.reason, r.status) for r in refusals(world)} == {("user_limit", 429)}


def test_130_creates_of_30_users_give_100_sessions(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        for number in range(130):
            world.create(SessionId(f"user{number % 30}", f"bot{number}"))

        world.until(lambda: world.kinds().count("session.pairing") == 100)
        assert world.kinds().count("session.registered") == 100
        assert Counter(r.reason for r in refusals(world)) == {"pool_full": 30}


def test_a_removed_session_makes_room(tmp_path: Path) -> None:
    with a_world(tmp_path, max_sessions=1) as world:
        first, second = SessionId("ann", "one"), SessionId("bob", "two")
        world.create(first)
        world.wait_for(first, "pairing")
        world.create(second)
        world.until(lambda: refusals(world))

        world.wire.command(first, e.Delete())
        world.wait_for(first, "removed")
        world.create(second)

        world.wait_for(second, "pairing")


def test_a_session_made_again_at_once_is_not_taken_along_by_the_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_world(tmp_path) as world:
        world.create(ANN)
        world.wait_for(ANN, "pairing")
        forget, begun, go = world.wire.forget, threading.Event(), threading.Event()

        async def slowly(session: SessionId, place: int, position: int) -> None:
            begun.set()
            while not go.is_set():
                await asyncio.sleep(0.002)
            await forget(session, place, position)

        monkeypatch.setattr(world.wire, "forget", slowly)
        world.wire.command(ANN, e.Delete())
        assert begun.wait(10)

        again = world.create(ANN)
        world.until(lambda: any(s.envelope is again for s in world.wire.settled))
        assert len(world.envelopes(ANN, "registered")) == 1
        go.set()

        world.wait_for(ANN, "pairing", 2)
        assert answers(world, ANN)
        assert world.wire.forgotten == [ANN]


def test_two_pairs_that_join_to_one_id_do_not_reach_each_other(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.create(SessionId("a-b", "c"))
        world.wait_for(SessionId("a-b", "c"), "pairing")

        world.create(SessionId("a", "b-c"))

        world.until(lambda: refusals(world))
        assert (refusals(world)[0].reason, refusals(world)[0].status) == ("id_taken", 409)


def test_creating_a_live_session_again_makes_no_second_browser(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        ann = SessionId("ann", "bot")
        world.create(ann)
        world.wait_for(ann, "pairing")

        again = world.create(ann)

        world.until(lambda: [s for s in world.wire.settled if s.envelope is again])
        assert len(world.launcher.browsers) == 1


def test_limits_hold_across_two_racing_pools(tmp_path: Path) -> None:
    with a_world(tmp_path / "a") as one, a_world(tmp_path / "b") as two:
        # Two nodes on one log: each learns of the other's registrations by being refused.
        two.log.events, two.log._ids = one.log.events, one.log._ids
        for number in range(20):
            (one if number % 2 else two).create(SessionId("ann", f"bot{number}"))

        one.until(lambda: len(refusals(one)) + len(refusals(two)) == 15)
        assert one.kinds().count("session.registered") == 5


def test_a_create_is_for_the_user_of_its_subject_whatever_it_says_of_itself(
    tmp_path: Path,
) -> None:
    with a_world(tmp_path) as world:
        world.wire.create(SessionId("mallory", "bot"), Create(bot="bot"), says="ann.bot")

        world.wait_for(SessionId("mallory", "bot"), "registered")
        assert world.envelopes(SessionId("ann", "bot"), "registered") == []


def test_an_on_start_that_raises_takes_down_that_session_only(
    pair: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SessionActor.on_start
    failed: list[SessionId] = []

    def fail_once(self: SessionActor) -> None:
        if self.identity == CID and not failed:
            failed.append(CID)
            raise RuntimeError("a bug")
        start(self)

    monkeypatch.setattr(SessionActor, "on_start", fail_once)
    pair.create(CID)
    pair.until(lambda: failed)

    assert answers(pair, BOB)
    # pykka tells nobody, so the pool has to find it dead.
    pair.until(lambda: pair.advance(5) or pair.envelopes(CID, "pairing"))
    assert len(pair.envelopes(BOB, "ready")) == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError()])
def test_an_exception_in_a_handler_takes_down_that_session_only(
    pair: World, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = SessionActor._receive
    struck: list[object] = []

    def strike_once(self: SessionActor, message: Message) -> None:
        if self.identity == ANN and not struck:
            struck.append(message)
            raise error
        receive(self, message)

    victim = actor_of(ANN)
    monkeypatch.setattr(SessionActor, "_receive", strike_once)
    pair.browser(ANN).drop()

    assert victim.actor_stopped.wait(10)
    assert answers(pair, BOB)
    # The pool revives it after a pause, whenever it heard of the end.
    pair.until(lambda: pair.advance(5) or len(pair.envelopes(ANN, "ready")) == 2)
    assert answers(pair, ANN)
    assert len(pair.envelopes(BOB, "ready")) == 1


def test_a_cancelled_coroutine_takes_down_that_session_only(
    pair: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = pair.log.append
    cancelled: list[str] = []

    async def cancel_once(
        subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        task = asyncio.current_task()
        if event.subject == ANN.dotted and not cancelled and task is not None:
            cancelled.append(subject)
            task.cancel()
            await asyncio.sleep(0)
        return await append(subject, event, guard, ttl)

    victim = actor_of(ANN)
    monkeypatch.setattr(pair.log, "append", cancel_once)
    pair.browser(ANN).drop()

    assert victim.actor_stopped.wait(10)
    assert answers(pair, BOB)
    pair.until(lambda: pair.advance(5) or len(pair.envelopes(ANN, "ready")) == 2)
    assert answers(pair, ANN)
    assert len(pair.envelopes(BOB, "ready")) == 1


def test_commands_to_a_session_that_does_not_exist_are_refused_and_buried(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        nobody = SessionId("no", "body")
        deadline = world.clock.now()
        send = Send(message="m1", to="15557654321@c.us", body="hi", deadline=deadline)
        command = world.wire.send(nobody, send)

        world.until(lambda: world.advance(5) or refusals(world))
        assert refusals(world)[0].command == command.id
        assert refusals(world)[0].status == 404
