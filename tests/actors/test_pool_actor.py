"""The pool: limits, supervision, slots, and commands to nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pykka
import pytest

from actors.session import SessionActor
from events import session_events as e
from events.message import Send
from events.pool import Create
from events.subjects import SessionId
from tests.actors.world import a_world, refusals


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


@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError()])
def test_a_session_that_fails_takes_down_no_other(
    tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_world(tmp_path) as world:
        ann, bob = SessionId("ann", "bot"), SessionId("bob", "bot")
        world.linked(ann, "15550001111")
        world.linked(bob, "15550002222")
        receive = SessionActor._receive
        struck: list[object] = []

        def strike_once(self: SessionActor, message: object) -> None:
            if isinstance(message, type(world)) and not struck:
                struck.append(message)
                raise error
            receive(self, message)

        monkeypatch.setattr(SessionActor, "_receive", strike_once)
        [victim] = [
            ref
            for ref in pykka.ActorRegistry.get_by_class(SessionActor)
            if ref.proxy().identity.get() == ann
        ]

        victim.tell(world)
        assert victim.actor_stopped.wait(10)

        # The pool revives it after a pause, whenever it heard of the end.
        world.until(lambda: world.advance(5) or len(world.envelopes(ann, "ready")) == 2)
        assert len(world.envelopes(bob, "ready")) == 1
        assert world.word(bob) == "ready"


def test_a_session_that_cannot_start_its_life_takes_down_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_world(tmp_path) as world:
        ann, bob = SessionId("ann", "bot"), SessionId("bob", "bot")
        start = SessionActor.on_start
        failed: list[SessionId] = []

        def fail_once(self: SessionActor) -> None:
            if self.identity == ann and not failed:
                failed.append(ann)
                raise RuntimeError("a bug")
            start(self)

        monkeypatch.setattr(SessionActor, "on_start", fail_once)
        world.create(ann)
        world.until(lambda: failed)
        world.linked(bob, "15550002222")

        # pykka tells nobody, so the pool has to find it dead.
        world.until(lambda: world.advance(5) or world.envelopes(ann, "pairing"))
        assert world.word(bob) == "ready"


def test_commands_to_a_session_that_does_not_exist_are_refused_and_buried(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        nobody = SessionId("no", "body")
        deadline = world.clock.now()
        send = Send(message="m1", to="15557654321@c.us", body="hi", deadline=deadline)
        command = world.wire.send(nobody, send)

        world.until(lambda: world.advance(5) or refusals(world))
        assert refusals(world)[0].command == command.id
        assert refusals(world)[0].status == 404
