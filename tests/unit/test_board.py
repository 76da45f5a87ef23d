"""What `wa top` shows: which session comes first, how busy each is, what is not let through."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.console import Console

from events.settings import Settings
from gateway.cli.board import Board, Counted, Look, Open, Pool, Standing
from gateway.cli.service import CannotDo, Service
from gateway.cli.top import look as ask

NOW = datetime(2026, 1, 31, 12, 4, 42, tzinfo=UTC)


def standing(
    name: str,
    status: str = "ready",
    *,
    sent: int = 0,
    received: int = 0,
    error: str | None = None,
    next_attempt: datetime | None = None,
) -> Standing:
    return Standing(
        session_id=name,
        status=status,
        since=NOW - timedelta(minutes=61),
        next_attempt=next_attempt,
        reason=None,
        error=error,
        metrics=Counted(messages_sent=sent, messages_received=received),
    )


def look(at: float, *sessions: Standing, breakers: tuple[Open, ...] = ()) -> Look:
    pool = Pool(max_sessions=100, messages_failed=3, reconnections=4)
    return Look(at, pool, sessions, breakers)


def opened(session: str) -> Open:
    return Open(
        type="session",
        session_id=session,
        node=None,
        state="open",
        failures=6,
        threshold=6,
        rejected=2,
        next_attempt=NOW + timedelta(seconds=23),
    )


def shown(board: Board, height: int | None = None, width: int = 160) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(board.render(NOW, height))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def board(*looks: Look) -> Board:
    made = Board("http://127.0.0.1:3001")
    for each in looks:
        made.take(each)
    return made


def names(lines: list[str]) -> list[str]:
    """Return the first word of each row of the table."""
    header = next(place for place, line in enumerate(lines) if line.lstrip().startswith("SESSION"))
    return [line.split()[0] for line in lines[header + 1 :]]


def test_states_are_counted_and_trouble_comes_first() -> None:
    seen = board(
        look(
            0,
            standing("a-fine"),
            standing("b-fine"),
            standing("c-away", "reconnecting", error="the page stopped answering"),
            standing("d-shut", "suspended"),
        )
    )

    lines = shown(seen)

    assert lines[1] == "sessions  4 of 100  1 suspended  1 reconnecting  2 ready"
    assert names(lines) == ["d-shut", "c-away", "a-fine", "b-fine"]
    assert lines[-3].endswith("the page stopped answering")


def test_a_rate_is_of_the_last_minute_and_the_busiest_comes_first() -> None:
    seen = board(
        look(0, standing("a-quiet", sent=5), standing("b-busy", sent=500)),
        look(60, standing("a-quiet", sent=5), standing("b-busy", sent=800)),
        look(90, standing("a-quiet", sent=5, received=1), standing("b-busy", sent=860)),
        look(120, standing("a-quiet", sent=5, received=3), standing("b-busy", sent=890)),
    )

    lines = shown(seen)

    assert names(lines) == ["b-busy", "a-quiet"]
    assert lines[-2].split()[:8] == ["b-busy", "ready", "1h", "1m", "90", "0", "890", "0"]
    assert lines[-1].split()[4:6] == ["0", "3"]
    assert lines[2].startswith("messages  90 sent and 3 received a minute; 895 sent, 3 received")


def test_one_look_tells_no_rate() -> None:
    lines = shown(board(look(0, standing("a-one", sent=7))))

    assert lines[2] == "messages  7 sent, 0 received, 3 failed in all; 4 reconnections"
    assert lines[-1].split() == ["a-one", "ready", "1h", "1m", "7", "0"]


def test_a_session_that_was_made_anew_counts_from_nothing() -> None:
    seen = board(look(0, standing("a-one", sent=70)), look(30, standing("a-one", sent=2)))

    assert shown(seen)[-1].split()[4:6] == ["0", "0"]


def test_what_is_not_let_through_is_named_with_its_next_attempt() -> None:
    closed = opened("a-fine").model_copy(update={"state": "closed"})
    away = standing("b-away", "reconnecting", next_attempt=NOW + timedelta(seconds=8))
    seen = board(look(0, standing("a-fine"), away, breakers=(closed, opened("b-away"))))

    lines = shown(seen)

    assert lines[3] == "breakers  1 of 2 not closed"
    assert lines[4].split(maxsplit=2) == [
        *("b-away", "session"),
        "open: 6 of 6 failures, 2 turned away, one try in 23s",
    ]
    assert "in 8s" in lines[-2]


def test_a_short_terminal_shows_what_fits_and_says_what_does_not() -> None:
    sessions = [standing(f"u-{number}") for number in range(50)]
    seen = board(look(0, *sessions, standing("z-shut", "suspended")))

    lines = shown(seen, height=20)

    assert len(lines) <= 20
    assert names(lines)[0] == "z-shut"
    shut = len(names(lines)) - 1
    assert lines[-1] == f"and {51 - shut} more"


def test_a_narrow_terminal_keeps_one_line_for_a_session() -> None:
    seen = board(look(0, standing("a-one", "suspended", error="it said " + "much " * 100)))

    lines = shown(seen, height=20, width=80)

    assert names(lines) == ["a-one"]
    assert max(map(len, lines)) <= 80


def test_what_a_browser_said_steers_no_terminal() -> None:
    seen = board(look(0, standing("a-one", "suspended", error="\x1b[2J[bold]gone\r\n\u202eaway")))

    lines = shown(seen)

    assert lines[-1].endswith(" [2J[bold]gone   away")


def test_while_nothing_answers_the_last_look_stays_and_says_so() -> None:
    seen = board(look(0, standing("a-one")))

    seen.miss("no service answers")
    missed = shown(seen)
    seen.take(look(2, standing("a-one")))

    assert missed[1] == "No newer look than this: no service answers"
    assert names(missed) == ["a-one"]
    assert "No newer look" not in "".join(shown(seen))


def test_an_answer_that_is_none_of_ours_is_named() -> None:
    service = Service("http://elsewhere", "key", Settings(_env_file=None))
    answers = httpx.MockTransport(lambda _: httpx.Response(200, json={"sessions": []}))
    http = httpx.Client(base_url=service.url, transport=answers)

    with pytest.raises(CannotDo, match="another version: maxSessions"):
        ask(service, http)
