"""Records the broker's folder as a version of ours left it, for tests/contract/test_recorded.py.

Run it with the code of the version that is to be recorded, from a clone of that commit:

    git worktree add ../then COMMIT && cd ../then
    PYTHONPATH=$PWD ../now/.venv/bin/python ../now/tests/golden/record_log.py OUT.tar.gz

Every event that the version knows is in there, in lives that its own rules allow, written
by its own log into streams that it declared itself, on its own nats.conf. So is every
command. Beside the folder lies what it makes of them, so that a later one can be compared.
Numbers and names are those of the golden files: nobody's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
import tempfile
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from nats.js import JetStreamContext
from pydantic import SecretStr

from actors.machine import servers
from actors.machine.part import Part
from actors.machine.ports import free_port
from actors.machine.secrets import Passwords
from events import codec, connection, message, pool, streams, subjects
from events import session_events as e
from events.envelope import Payload
from events.jetstream_log import JetStreamLog
from events.log import Guard
from events.session import IllegalTransition, Session, State, evolve
from events.settings import Settings
from events.subjects import SessionId
from tests.golden.write import SAMPLES

AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ADA, BEN = SessionId("ada", "shop"), SessionId("ben", "desk")
NODE = "recorded"
FOR_EVER = 100 * 365 * 86_400.0
"""Seconds that message events live: a month, and the test would find an empty log."""

BY_TYPE = {codec.type_of(sample): sample for sample in SAMPLES}
FAMILIES = {"session": "wa.session.", "message": "wa.message.", "pool": "wa.pool."}


def samples(family: str) -> list[Payload]:
    """List the samples of a family."""
    return [one for name, one in BY_TYPE.items() if name.startswith(FAMILIES[family])]


def stepped(session: Session, event: Payload) -> Session | None:
    """Return where an event leads, or None if the rules refuse it there."""
    try:
        return evolve(session, event, AT)  # type: ignore[arg-type]
    except IllegalTransition:
        return None


def way(session: Session, wanted: set[str], end: State | None = None) -> list[Payload]:
    """Find the shortest way to an event of these kinds, or to a state."""
    waiting: deque[tuple[Session, list[Payload]]] = deque([(session, [])])
    seen = {session.state}
    while waiting:
        here, path = waiting.popleft()
        for event in samples("session"):
            there = stepped(here, event)
            if there is None:
                continue
            kind = codec.kind_of(event)
            if kind in wanted or there.state is end:
                return [*path, event]
            # Those two end a life: only when they are wanted themselves.
            if there.state not in seen and kind not in {"removed", "blocked"}:
                seen.add(there.state)
                waiting.append((there, [*path, event]))
    raise SystemExit(f"no way from {session.state} to {sorted(wanted) or end}")


def life() -> list[Payload]:
    """Return a life with every session event in it, which ends ready."""
    session, events = Session(), list[Payload]()
    missing = {codec.kind_of(one) for one in samples("session")}
    while missing:
        # A session that was removed begins anew, so that comes as soon as it can.
        wanted = {"removed"} if "removed" in missing and session.version else missing
        for event in way(session, wanted):
            session = evolve(session, event, AT)  # type: ignore[arg-type]
            events.append(event)
            missing.discard(codec.kind_of(event))
    return [*events, *way(session, set(), State.READY)]


def messages() -> list[Payload]:
    """Return one send for each outcome, and one message that came."""
    held = {codec.kind_of(one): one for one in samples("message")}

    def of(kind: str, number: int) -> Payload:
        fields = type(held[kind]).model_fields
        changes = {"message": f"order-{number}", "wa_id": f"3EB0{number:018}"}
        return held[kind].model_copy(
            update={name: value for name, value in changes.items() if name in fields}
        )

    events: list[Payload] = []
    for number, kinds in enumerate(
        (
            ("sending", "sent", "delivered", "read", "played"),
            ("failed",),
            ("expired",),
            ("sending", "unresolved"),
        )
    ):
        events += [of(kind, number) for kind in kinds]
    return [*events, of("received", 4)]


class Recording:
    """Appends as the recorded version did, and remembers what it wrote."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._log = JetStreamLog(js)
        self._tails: dict[str, int] = {}
        self.types: list[str] = []

    async def session(self, session: SessionId, events: list[Payload], family: str) -> None:
        """Append events of one session and family, numbered on from one."""
        guard = subjects.session_family(session)
        for version, event in enumerate(events, 1):
            subject = (subjects.session_event if family == "session" else subjects.message_event)(
                session, codec.kind_of(event)
            )
            sealed = codec.seal(
                event,
                subject=session.dotted,
                source=f"wa/node/{NODE}",
                at=AT,
                causation="c0ffee",
                node=NODE,
                version=version,
            )
            ttl = FOR_EVER if family == "message" else None
            position = await self._log.append(
                subject, sealed, Guard(guard, self._tails.get(guard, 0)), ttl
            )
            if family == "session":
                self._tails[guard] = position
            self.types.append(sealed.type)

    async def node(self, events: list[Payload]) -> None:
        """Append events of the pool."""
        for event in events:
            sealed = codec.seal(event, subject=NODE, source=f"wa/node/{NODE}", at=AT, node=NODE)
            guard = subjects.pool_family(NODE)
            subject = subjects.pool_event(NODE, codec.kind_of(event))
            self._tails[guard] = await self._log.append(
                subject, sealed, Guard(guard, self._tails.get(guard, 0))
            )
            self.types.append(sealed.type)

    async def commands(self) -> list[str]:
        """Leave one of each command in the queue."""
        types: list[str] = []
        for name, payload in BY_TYPE.items():
            if not name.startswith("wa.command."):
                continue
            if isinstance(payload, message.Send):
                subject = subjects.send_command(ADA)
            elif isinstance(payload, pool.Create):
                subject = subjects.create_command(ADA.user)
            else:
                subject = subjects.session_command(ADA, codec.kind_of(payload))
            sealed = codec.seal(payload, subject=ADA.dotted, source="wa/gateway", at=AT)
            await self._js.publish(subject, codec.encode(sealed))
            types.append(name)
        return types


async def record(home: Path) -> dict[str, object]:
    """Fill a broker's folder; return what is in there."""
    passwords, port = Passwords(), free_port()
    settings = Settings(
        nats_url=f"nats://127.0.0.1:{port}", nats_port=port, nats_password=SecretStr(passwords.node)
    )
    part = Part(servers.nats(settings, home / "nats", passwords), lambda *_: None)
    await part.start()
    try:
        client = await connection.connect(settings, "node", name="record", patience=10)
        js = client.jetstream()
        await streams.declare(js, settings)
        recording = Recording(js)
        lived, ready = life(), way(Session(), set(), State.READY)
        await recording.node(samples("pool"))
        await recording.session(ADA, lived, "session")
        await recording.session(ADA, messages(), "message")
        await recording.session(BEN, ready, "session")
        commands = await recording.commands()
        await (await js.key_value(subjects.KEYS)).put("recorded", b"{}")
        born = (await js.stream_info(subjects.EVENTS)).created
        await client.close()
    finally:
        await part.stop()
    return {
        "types": recording.types,
        "commands": commands,
        "born": str(born),
        "sessions": {ADA.dotted: len(lived), BEN.dotted: len(ready)},
        "messages": len(messages()),
    }


def main() -> None:
    """Record, and pack it."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        told = asyncio.run(record(home))
        (home / "told.json").write_text(json.dumps(told, indent=1))
        with tarfile.open(sys.argv[1], "w:gz") as tar:
            for name in ("nats", "told.json"):
                tar.add(home / name, name)
    print(f"{sys.argv[1]}: {len(told['types'])} events, code of {Path(e.__file__).parent}")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
