"""What `wa top` shows: sessions, states, rates and breakers, as of the last look. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.wire import Wire

WINDOW = 60.0
"""Seconds over which messages are counted for a rate."""

STYLES: Mapping[str, str] = {
    "suspended": "bold red",
    "auth_failed": "bold red",
    "reconnecting": "yellow",
    "disconnected": "yellow",
    "logged_out": "yellow",
    "waiting_qr": "cyan",
    "initializing": "cyan",
    "authenticated": "cyan",
    "ready": "green",
    "stopped": "dim",
}
"""A colour for each word of a state. Those that want looking at come first."""

_TROUBLE = {word: place for place, word in enumerate(STYLES)}


class Counted(Wire):
    """What a session counted since it was made."""

    messages_sent: int
    messages_received: int


class Standing(Wire):
    """A session, as far as it is shown here."""

    session_id: str
    status: str
    since: datetime
    next_attempt: datetime | None
    reason: str | None
    error: str | None
    metrics: Counted


class Open(Wire):
    """A breaker of a session, a page or a node."""

    type: str
    session_id: str | None
    node: str | None
    state: str
    failures: int
    threshold: int
    rejected: int
    next_attempt: datetime | None


class Pool(Wire):
    """The pool in numbers."""

    max_sessions: int
    messages_failed: int
    reconnections: int


@dataclass(frozen=True, slots=True)
class Look:
    """All that was seen at `at`, a reading of the stopwatch in seconds."""

    at: float
    pool: Pool
    sessions: Sequence[Standing]
    breakers: Sequence[Open]


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a minute."""

    sent: float = 0.0
    received: float = 0.0

    @property
    def both(self) -> float:
        """How busy it is."""
        return self.sent + self.received


class Board:
    """The last look, those of the minute before, and why there is no newer one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._looks: deque[Look] = deque()
        self._missed: str | None = None

    def take(self, look: Look) -> None:
        """Show this from now on."""
        self._missed = None
        self._looks.append(look)
        # The oldest kept is the newest that is a whole window old, once there is one.
        while len(self._looks) > 1 and look.at - self._looks[1].at >= WINDOW:
            self._looks.popleft()

    def miss(self, why: str) -> None:
        """Say that there is no newer look; the last one stays."""
        self._missed = why

    def rates(self) -> dict[str, Rate]:
        """Tell the rate of each session that was there before; none after a single look."""
        if len(self._looks) < 2:
            return {}
        old, new = self._looks[0], self._looks[-1]
        minutes = max(new.at - old.at, 0.001) / 60
        before = {each.session_id: each.metrics for each in old.sessions}
        # A session that was deleted and made again counts from nothing.
        return {
            each.session_id: Rate(
                max(0, each.metrics.messages_sent - was.messages_sent) / minutes,
                max(0, each.metrics.messages_received - was.messages_received) / minutes,
            )
            for each in new.sessions
            if (was := before.get(each.session_id)) is not None
        }

    def render(self, now: datetime, height: int | None = None) -> RenderableType:
        """Draw it; with a height in lines, the sessions that want looking at come first."""
        head = list(self._head(now))
        if not self._looks:
            return Group(*head)
        room = None if height is None else max(1, height - len(head) - 3)
        return Group(*head, Text(), *self._table(now, room))

    # --- parts ----------------------------------------------------------------

    def _head(self, now: datetime) -> Iterator[Text]:
        yield Text.assemble(("wa top", "bold"), f"  {self._url}  {now.astimezone():%H:%M:%S}")
        if self._missed is not None:
            yield _line(f"No newer look than this: {self._missed}", "bold red")
        if not self._looks:
            return
        look = self._looks[-1]
        states = Counter(each.status for each in look.sessions)
        counted = Text(f"sessions  {len(look.sessions)} of {look.pool.max_sessions}")
        for word in sorted(states, key=_place):
            counted.append("  ").append(f"{states[word]} {word}", STYLES.get(word, ""))
        yield counted
        yield self._messages(look)
        shut = [each for each in look.breakers if each.state != "closed"]
        yield Text(f"breakers  {len(shut)} of {len(look.breakers)} not closed")
        for each in shut[:5]:
            yield _breaker(each, now)
        if len(shut) > 5:
            yield Text(f"          and {len(shut) - 5} more: wa breakers", "dim")

    def _messages(self, look: Look) -> Text:
        sent = sum(each.metrics.messages_sent for each in look.sessions)
        received = sum(each.metrics.messages_received for each in look.sessions)
        told = Text("messages  ")
        rates = self.rates().values()
        if len(self._looks) > 1:
            out, into = sum(rate.sent for rate in rates), sum(rate.received for rate in rates)
            told.append(f"{out:.0f} sent and {into:.0f} received a minute; ")
        told.append(f"{sent} sent, {received} received, ")
        failed = look.pool.messages_failed
        told.append(f"{failed} failed", "red" if failed else "")
        return told.append(f" in all; {look.pool.reconnections} reconnections")

    def _table(self, now: datetime, room: int | None) -> Iterator[RenderableType]:
        rates, still = self.rates(), Rate()

        def place(each: Standing) -> tuple[int, float, str]:
            busy = rates.get(each.session_id, still).both
            return _place(each.status), -busy, each.session_id

        rows = sorted(self._looks[-1].sessions, key=place)
        table = Table(box=None, header_style="dim", expand=room is not None)
        for name in ("SESSION", "STATUS"):
            table.add_column(name, no_wrap=True)
        for name in ("FOR", "NEXT", "OUT/MIN", "IN/MIN", "SENT", "RECEIVED"):
            table.add_column(name, no_wrap=True, justify="right")
        table.add_column("WHY", no_wrap=True, overflow="ellipsis", ratio=1 if room else None)
        shown = rows if room is None or len(rows) <= room else rows[: room - 1]
        for each in shown:
            rate = rates.get(each.session_id)
            table.add_row(
                each.session_id,
                Text(each.status, STYLES.get(each.status, "")),
                _span(now - each.since),
                f"in {_span(each.next_attempt - now)}" if each.next_attempt else "",
                f"{rate.sent:.0f}" if rate else "",
                f"{rate.received:.0f}" if rate else "",
                str(each.metrics.messages_sent),
                str(each.metrics.messages_received),
                _line(each.error or each.reason or ""),
            )
        yield table
        if len(shown) < len(rows):
            yield Text(f"and {len(rows) - len(shown)} more", "dim")


def _breaker(each: Open, now: datetime) -> Text:
    told = Text("          ").append(f"{each.session_id or each.node}", "bold")
    told.append(f" {each.type} {each.state}", "red" if each.state == "open" else "yellow")
    told.append(f": {each.failures} of {each.threshold} failures, {each.rejected} turned away")
    if each.next_attempt is not None:
        told.append(f", one try in {_span(each.next_attempt - now)}")
    return told


def _place(word: str) -> int:
    return _TROUBLE.get(word, -1)


def _span(lasting: timedelta) -> str:
    """Write how long, in its two largest units; what should be over lasts 0 s."""
    seconds = max(0, round(lasting.total_seconds()))
    for size, unit, smaller, mark in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{mark}"
    return f"{seconds}s"


def _line(text: str, style: str = "") -> Text:
    # What a browser or WhatsApp said could steer the terminal, or break the line.
    return Text("".join(each if each.isprintable() else " " for each in text), style)
