"""Records what a whole node wrote in some incidents, and the story as it is told of each.

    python -m tests.golden.record_incidents

The logs are written once: they are what happened. The stories are written anew each time,
so that a change of words shows as a change of files: read it before it is committed.
"""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actors.browser.protocol import Unreachable
from actors.memory import Cost
from actors.vault.keys import Keys
from actors.vault.vault import Vault
from events import session_events as e
from events import subjects
from events.live import Usage
from events.log import Stored
from events.subjects import SessionId
from projections.timeline import Timeline
from tests.actors.world import NUMBER, World, a_world

FOLDER = Path(__file__).with_name("incidents")
ANN, BEA = SessionId("ann", "bot"), SessionId("bea", "desk")

Incident = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One session's log, and the moment at which somebody asks why."""

    now: datetime
    events: tuple[Stored, ...]

    def dump(self) -> str:
        """Write it as JSON lines."""
        lines = [{"now": self.now.isoformat()}]
        lines += [
            {
                "position": str(stored.position),
                "subject": stored.subject,
                "at": stored.stored_at.isoformat(),
                "event": stored.raw.decode(),
            }
            for stored in self.events
        ]
        return "".join(json.dumps(line) + "\n" for line in lines)


def load(name: str) -> Recorded:
    """Read the log of an incident."""
    first, *lines = (
        json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()
    )
    return Recorded(
        datetime.fromisoformat(first["now"]),
        tuple(
            Stored(
                int(line["position"]),
                line["subject"],
                datetime.fromisoformat(line["at"]),
                line["event"].encode(),
            )
            for line in lines
        ),
    )


def told(recorded: Recorded) -> str:
    """Tell the story of an incident as the golden file has it."""
    timeline = Timeline(limit=1_000)
    for stored in recorded.events:
        timeline.take(stored)
    why = "".join(f"{sentence}\n" for sentence in timeline.why(recorded.now))
    story = "".join(
        f"{each.at:%H:%M:%S}  {each.word:13} {each.text}\n" for each in timeline.happenings
    )
    return f"{why}\n{story}"


# --- the incidents ----------------------------------------------------------------


def browser_killed(world: World) -> None:
    """Its browser is killed; it waits for its next attempt."""
    world.linked(ANN)
    world.advance(600)
    world.browser(ANN).die()
    world.wait_for(ANN, "backing_off")


def page_hung(world: World) -> None:
    """The page hangs twice; the second attempt to come back is due."""
    for _ in range(2):
        _ready(world)
        world.browser(ANN).hang()
        world.until(lambda: world.advance(1) or world.word(ANN) == "reconnecting")
        world.browser(ANN).release()
        if len(world.envelopes(ANN, "crashed")) < 2:
            world.until(lambda: world.advance(0.5) or world.word(ANN) == "ready")


def grown_and_hung(world: World) -> None:
    """The page hangs after its browser has grown."""
    world.linked(ANN)
    world.machine.costs = Cost(memory_mb=512, cpu_seconds=2.0)
    # The second time that it is weighed is told; by then the first is known as well.
    world.until(lambda: world.advance(20) or _weighed(world))
    world.browser(ANN).hang()
    world.until(lambda: world.advance(1) or world.word(ANN) == "reconnecting")


def unreachable(world: World) -> None:
    """WhatsApp cannot be reached until the breaker opens."""
    world.linked(ANN)
    world.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))
    world.browser(ANN).die()
    world.until(lambda: world.advance(0.5) or world.word(ANN) == "suspended")


def back_again(world: World) -> None:
    """The probe after the breaker opened succeeds."""
    unreachable(world)
    world.launcher.mend()
    world.until(lambda: world.advance(0.5) or world.word(ANN) == "ready")


def too_heavy(world: World) -> None:
    """Its browser is over its memory and is started anew."""
    world.linked(ANN)
    world.machine.costs = Cost(memory_mb=900, cpu_seconds=2.0)
    world.launcher.hold()
    world.until(lambda: world.advance(20) or len(world.envelopes(ANN, "queued")) == 2)
    world.wait_for(ANN, "starting", 2)


def unlinked(world: World) -> None:
    """The phone unlinks it."""
    world.linked(ANN)
    world.advance(60)
    world.whatsapp.unlink(NUMBER)
    world.wait_for(ANN, "logged_out")


def elsewhere(world: World) -> None:
    """WhatsApp is opened in another window."""
    world.linked(ANN)
    world.advance(60)
    world.browser(ANN).conflict()
    world.wait_for(ANN, "parked")


def account_taken(world: World) -> None:
    """Another session of the service links the same account."""
    world.linked(BEA)
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    world.browser(ANN).scan(NUMBER)
    world.wait_for(ANN, "parked")


def unscanned(world: World) -> None:
    """Nobody scans, until the codes are used up."""
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    for shown in range(1, world.settings.qr_max + 1):
        world.browser(ANN).new_qr()
        world.until(
            lambda shown=shown: (
                len(world.envelopes(ANN, "qr_refreshed")) >= shown
                or bool(world.envelopes(ANN, "rested"))
            )
        )
    world.wait_for(ANN, "rested")


def stopped(world: World) -> None:
    """Somebody stops it while WhatsApp's connection is away."""
    world.linked(ANN)
    world.browser(ANN).drop()
    world.wait_for(ANN, "offline")
    world.advance(5)
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")


def disk_lost(world: World) -> None:
    """The node begins again without its disk; the link comes back from the vault."""
    _saved(world)
    world.kill()
    shutil.rmtree(world.settings.profiles / ANN.dotted)
    world.start()
    world.wait_for(ANN, "ready", 2)


def wrong_key(world: World) -> None:
    """The same, and the node has another key than the one that sealed the snapshot."""
    _saved(world)
    other = base64.b64encode(b"o" * 32).decode()
    world.kill()
    shutil.rmtree(world.settings.profiles / ANN.dotted)
    world.vault = Vault((world.shelf,), lambda: Keys.read(other, "VAULT_KEY"), 10)
    world.start()
    world.wait_for(ANN, "backing_off")


def node_died(world: World) -> None:
    """Its node is killed, and another one goes on with it."""
    _saved(world)
    with a_world(world.settings.data_dir / "other", beside=world, node="n2") as other:
        world.until(lambda: world.advance(1) or world.leases.others())
        world.die()
        other.until(lambda: other.advance(1) or len(other.envelopes(ANN, "ready")) == 2)


def outdated(world: World) -> None:
    """WhatsApp refuses this version of its page, and again after a reload."""
    world.linked(ANN)
    world.whatsapp.rejects_version = True
    world.browser(ANN).become("DEPRECATED_VERSION", "DEPRECATED_VERSION")
    world.until(lambda: world.advance(0.5) or len(world.envelopes(ANN, "backing_off")) == 2)


def calls_paused(world: World) -> None:
    """Calls into its page fail in a row, while the page itself is not given up."""
    world.linked(ANN)
    world.whatsapp.sends.extend(["lost"] * 2)
    world.send(ANN, "m1")
    world.wait_for(ANN, "sending")
    world.browser(ANN).hang()
    world.until(lambda: world.wire.redeliver(ANN) or world.envelopes(ANN, "operations_paused"))


def _saved(world: World) -> None:
    world.linked(ANN)
    world.advance(world.settings.vault_after)
    world.wait_for(ANN, "profile_saved")


def _weighed(world: World) -> bool:
    return any(isinstance(notice, Usage) for _, notice in list(world.wire.notices))


def _ready(world: World) -> None:
    if not world.envelopes(ANN, "registered"):
        world.linked(ANN)


INCIDENTS: dict[str, Incident] = {
    each.__name__: each
    for each in (
        *(browser_killed, page_hung, grown_and_hung, unreachable, back_again, too_heavy),
        *(unlinked, elsewhere, account_taken, unscanned, stopped),
        *(disk_lost, wrong_key, node_died, outdated, calls_paused),
    )
}


def record(name: str) -> Recorded:
    """Let an incident happen."""
    with tempfile.TemporaryDirectory() as home, a_world(Path(home)) as world:
        INCIDENTS[name](world)
        family = subjects.session_family(ANN).rstrip("*>")
        events = tuple(each for each in world.log.events if each.subject.startswith(family))
        return Recorded(world.clock.now(), events)


def main() -> None:
    """Write what is missing, and every story anew."""
    FOLDER.mkdir(exist_ok=True)
    for name in INCIDENTS:
        log = FOLDER / f"{name}.jsonl"
        if not log.exists():
            log.write_text(record(name).dump())
        log.with_suffix(".txt").write_text(told(load(name)))


if __name__ == "__main__":
    main()
