"""`wa tail`: the log as it grows, read from NATS itself."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from events import codec, subjects
from events.clock import utc_now
from events.connection import NoBroker, connect
from events.envelope import Envelope
from events.jetstream_log import JetStreamLog
from events.log import Hole, Log, LogAway, Stored
from events.settings import Settings
from gateway.cli.service import CannotDo

SPAN = re.compile(r"(\d+)(s|m|h|d)")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
HIDDEN = frozenset({"body", "quoted", "totals"})
"""Fields that only `--json` shows: what people wrote is nobody's business by the way."""

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Since:
    """Where to begin: a position, or a time."""

    position: int | None = None
    time: datetime | None = None


def since(text: str, option: str = "--since") -> Since:
    """Read `10m`, a position, or a time as ISO 8601 writes it; raises CannotDo."""
    if span := SPAN.fullmatch(text):
        return Since(time=utc_now() - timedelta(**{UNITS[span[2]]: int(span[1])}))
    if text.isascii() and text.isdigit():
        return Since(position=int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CannotDo(
            f"{option} {text}: give a span (30s, 10m, 2h, 1d), a position, or a time "
            "(2026-01-31T12:00)"
        ) from None
    # A time without a zone is one on the clock of whoever types it.
    return Since(time=time.astimezone(UTC))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events to show. Types are globs on the kind or on the whole type."""

    session: str | None = None
    types: tuple[str, ...] = ()

    def takes(self, envelope: Envelope) -> bool:
        """Tell whether an event is wanted."""
        if self.session is not None and self.session not in _names(envelope.subject):
            return False
        kind = envelope.type.split(".")[-2] if envelope.type.count(".") > 1 else envelope.type
        return not self.types or any(
            fnmatch.fnmatchcase(name, wanted)
            for wanted in self.types
            for name in (kind, envelope.type)
        )


def _names(subject: str) -> set[str]:
    """Return every way to name a session: `user-bot`, `user.bot` and `user/bot`."""
    user, _, bot = subject.partition(".")
    return {f"{user}{mark}{bot}" for mark in ("-", ".", "/")}


async def tail(
    settings: Settings, begin: Since, wanted: Wanted, *, follow: bool, as_json: bool, show: Show
) -> None:
    """Show events until there are no more, or for ever; raises CannotDo."""
    try:
        client = await connect(settings, "ops", name="wa-tail", patience=5)
    except NoBroker as error:
        raise CannotDo(f"{error}. Is the service running? Else set NATS_URL") from None
    log = JetStreamLog(client.jetstream(), back=client.back)
    write = line_of if as_json else words_of
    try:
        async for stored in events(log, begin, follow=follow):
            try:
                envelope = stored.envelope
            except codec.Undecodable:
                show(f"{stored.position}  {stored.subject}: not an event of ours")
                continue
            if wanted.takes(envelope):
                show(write(stored, envelope))
    finally:
        await client.close()


async def events(log: Log, begin: Since, *, follow: bool) -> AsyncIterator[Stored]:
    """Read from a position or a time, and go on if told to; raises CannotDo."""
    everything = [subjects.ALL_EVENTS]
    try:
        # Before reading, so that nothing falls between reading and following.
        last = await log.tail(subjects.ALL_EVENTS)
        async for stored in log.read(everything, begin.position or 1, begin.time):
            yield stored
            last = max(last, stored.position)
    except (LogAway, Hole) as error:
        raise CannotDo(f"the log cannot be read: {error}") from None
    while follow:
        try:
            async for following in log.follow(everything, last + 1):
                if following is not None:
                    last = following.position
                    yield following
        except (LogAway, Hole):
            # The broker was away: go on from where we are.
            await asyncio.sleep(0.5)


def line_of(stored: Stored, envelope: Envelope) -> str:
    """Write an event as one line of JSON, with its position."""
    whole = {"position": stored.position} | json.loads(envelope.model_dump_json(exclude_none=True))
    return json.dumps(whole, ensure_ascii=False)


def words_of(stored: Stored, envelope: Envelope) -> str:
    """Write an event as one line for people."""
    at = envelope.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    told = " ".join(
        f"{name}={_short(value)}"
        for name, value in envelope.data.items()
        if name not in HIDDEN and value not in (None, "")
    )
    kind = envelope.type.removeprefix("wa.").rpartition(".")[0]
    return f"{stored.position:>7}  {at}  {envelope.subject:<24}  {kind:<22}  {told}".rstrip()


def _short(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
