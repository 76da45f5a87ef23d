"""The `wa` command against a gateway that serves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import Result
from typer.testing import CliRunner

from events import codec, live
from events import session_events as e
from events.clock import utc_now
from events.settings import Settings
from events.subjects import SessionId
from gateway.cli import draining
from gateway.cli import link as linking
from gateway.cli.main import app
from gateway.cli.service import CannotDo, broker_and_redis, find
from gateway.cli.tail import Since, since
from tests.gateway.conftest import KEY, Running
from tests.gateway.node import IN_A_MINUTE, ScriptedNode, received
from tests.gateway.test_nodes import answers

ONE = SessionId("user", "one")
Wa = Callable[..., Awaitable[Result]]


@pytest.fixture
def wa(
    running: Running, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Wa]:
    """Run `wa`, which finds the service as it finds one of `make up`."""
    home = tmp_path / "live"
    home.mkdir(exist_ok=True)
    (home / "api-key").write_text(KEY + "\n")
    note = {"pid": os.getpid(), "gateway_url": running.url, "nats_url": nats_url}
    (home / "up.json").write_text(json.dumps(note))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(linking, "PAUSE", 0.02)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    # The gateway's own logs would go to what the command is taken to say.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield run
    structlog.reset_defaults()


async def test_sessions_are_listed(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)

    result = await wa("sessions")

    assert result.exit_code == 0, result.output
    assert "user-one" in result.output
    assert "ready" in result.output


async def test_an_empty_list_says_what_to_do(wa: Wa, node: ScriptedNode) -> None:
    assert "wa link USER BOT" in (await wa("sessions")).output


async def test_a_list_as_json_holds_no_code(wa: Wa, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@secret")

    result = await wa("sessions", "--json")

    assert json.loads(result.output)[0]["status"] == "waiting_qr"
    assert "2@secret" not in result.output


async def test_breakers_are_listed_the_open_ones_first(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(SessionId("user", "fine"))
    await node.suspended(ONE)

    listed = await wa("breakers")
    as_json = await wa("breakers", "--json")

    assert listed.exit_code == 0, listed.output
    first = listed.output.splitlines()[1].split()
    assert first[:6] == ["user-one", "session", "open", "6", "of", "6"]
    assert {row["type"] for row in json.loads(as_json.output)} == {"session", "page"}


async def test_why_a_session_stands_as_it_does_is_told_now_and_at_another_moment(
    wa: Wa, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    between = datetime.now(UTC)
    await node.event(
        ONE,
        e.Crashed(reason="page_hung", detail="the page did not answer in time"),
        e.Suspended(failures=6, until=utc_now() + IN_A_MINUTE),
    )

    now = await wa("why", "user-one")
    then = await wa("why", "user-one", "--at", between.isoformat(), "--events", "0")
    wrong = await wa("why", "user-one", "--at", "17")

    assert now.exit_code == 0, now.output
    assert "Suspended since" in now.output.splitlines()[1]
    assert "suspended after" in now.output.splitlines()[-1]
    assert then.output.splitlines()[1].startswith("Ready since")
    assert "--at 17" in str(wrong.exception)


async def test_a_node_is_emptied_and_a_terminal_sees_how_far_it_is(
    wa: Wa, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "PAUSE", 0.02)
    monkeypatch.setenv("FORCE_COLOR", "1")
    await answers(node, "n1", *(codec.answer({"node": "n1", "left": left}) for left in (2, 1, 0)))

    result = await wa("drain", "n1")

    assert result.stdout == "n1 is empty: 2 sessions were handed over\n"
    assert "2/2" in result.stderr


async def test_a_text_is_sent(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)

    result = await wa("send", "user-one", "+49 170 1234567", "hello", "--key", "once")

    assert (result.exit_code, result.output[:6]) == (0, "sent: ")
    assert node.sends == {"once": 1}


async def test_a_key_is_made_listed_and_revoked(
    wa: Wa, running: Running, node: ScriptedNode
) -> None:
    key = (await wa("keys", "create", "desk", "--user", "ann", "--scope", "read")).output.strip()
    listed = (await wa("keys", "list")).output
    opened = await running.http.get("/openapi.json", headers={"x-api-key": key})
    revoked = await wa("keys", "revoke", key.split("_")[1])
    closed = await running.http.get("/openapi.json", headers={"x-api-key": key})

    assert [word in listed for word in ("desk", "ann", "read", "send")] == [True] * 3 + [False]
    assert key not in listed
    assert revoked.output == "revoked: desk\n"
    assert (opened.status_code, closed.status_code) == (200, 401)


async def test_a_refusal_is_told_in_words(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)

    result = await wa("send", "user-one", "mother", "hello")

    assert isinstance(result.exception, CannotDo)
    assert "country code" in str(result.exception)


async def test_link_draws_each_code_until_the_phone_is_linked(wa: Wa, node: ScriptedNode) -> None:
    linked = asyncio.create_task(wa("link", "user", "one"))
    await _until_code(node)
    await node.event(ONE, e.QrRefreshed(attempt=2, expires=utc_now() + IN_A_MINUTE))
    code = live.Qr(code="2@next", attempt=2, expires=utc_now() + IN_A_MINUTE)
    await node.notice(ONE, code)
    await asyncio.sleep(0.3)
    await node.ready(ONE)
    result = await linked

    assert result.exit_code == 0, result.output
    assert result.output.count("Scan it") == 2
    assert linking.drawn("2@next") in result.output
    assert "Linked: user-one" in result.output


async def _until_code(node: ScriptedNode) -> None:
    async with asyncio.timeout(5):
        while ONE not in node.reads.codes:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)


async def test_link_shows_a_code_to_type_for_a_phone(wa: Wa, node: ScriptedNode) -> None:
    asked = await node.owner(ONE, "pairing-code", codec.answer({"code": "WZYX1234"}))
    linked = asyncio.create_task(wa("link", "user", "one", "--phone", "+49 170 1234567"))
    async with asyncio.timeout(10):
        while not asked:
            await asyncio.sleep(0.02)
    await node.ready(ONE)
    result = await linked

    assert result.exit_code == 0, result.output
    assert "Type it: WZYX-1234" in result.output
    assert "Scan it" not in result.output
    assert "Linked: user-one" in result.output
    assert [question.number for question in asked] == ["491701234567"]


async def test_link_takes_the_id_of_a_session_that_exists(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)

    assert "Linked: user-one" in (await wa("link", "user-one")).output


async def test_link_ends_when_nobody_scans(wa: Wa, node: ScriptedNode) -> None:
    linked = asyncio.create_task(wa("link", "user", "one"))
    await _until_code(node)
    await node.event(ONE, e.QrExhausted(attempts=6), e.Rested(reason="qr_exhausted"))
    result = await linked

    assert isinstance(result.exception, CannotDo)
    assert "nobody scanned" in str(result.exception)
    assert "qr_exhausted" in str(result.exception)


async def test_the_log_is_shown_from_the_beginning(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.message(ONE, received("a private word"))

    result = await wa("tail", "--since", "1", "--no-follow")

    lines = result.output.splitlines()
    assert [line.split()[3] for line in lines] == [
        *("session.registered", "session.queued", "session.starting"),
        *("session.authenticated", "session.ready", "message.received"),
    ]
    assert "a private word" not in result.output


async def test_the_log_is_filtered_by_session_and_type(wa: Wa, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.ready(SessionId("user", "two"))

    result = await wa("tail", "--no-follow", "-s", "user/two", "-t", "ready", "-t", "*.queued.v1")

    kinds = [line.split()[2:4] for line in result.output.splitlines()]
    assert kinds == [["user.two", "session.queued"], ["user.two", "session.ready"]]


async def test_the_log_as_json_is_the_events_themselves(wa: Wa, node: ScriptedNode) -> None:
    position = await node.message(ONE, received("a private word"))

    result = await wa("tail", "--no-follow", "--json")

    event = json.loads(result.output)
    assert (event["position"], event["specversion"]) == (position, "1.0")
    assert event["data"]["body"] == "a private word"


async def test_following_shows_what_comes(wa: Wa, node: ScriptedNode, tmp_path: Path) -> None:
    await node.registered(ONE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "tail", "--since", "1"),
        env=os.environ | {"DATA_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        await process.stdout.readline()
        await process.stdout.readline()
        await node.starting(ONE)
        line = await process.stdout.readline()
    process.terminate()
    await process.wait()

    assert b"session.starting" in line


async def test_a_service_that_does_not_run_is_one_clear_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "sessions"),
        env=os.environ | {"DATA_DIR": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await process.communicate()

    assert process.returncode == 1
    assert complained.decode().count("\n") == 1
    assert "make up" in complained.decode()


@pytest.mark.parametrize("command", ["sessions", "tail", "rebuild"])
def test_every_command_says_how_to_start_the_service(home: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command])

    assert isinstance(result.exception, CannotDo)
    assert "make up" in str(result.exception)


# --- where the service is ----------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "sandbox").mkdir()
    return tmp_path / "sandbox"


def up(home: Path, pid: int | None = None) -> None:
    (home / "api-key").write_text("file-key")
    note = {
        "pid": pid or os.getpid(),
        "gateway_url": "http://127.0.0.1:4001",
        "nats_url": "nats://127.0.0.1:4222",
        "nats_passwords": {"ops": "ops-password", "node": "another"},
        "redis_host": "127.0.0.1",
        "redis_port": 6380,
        "redis_password": "redis-password",
        "api_key_file": str(home / "api-key"),
    }
    (home / "up.json").write_text(json.dumps(note))


def secrets(settings: Settings) -> tuple[str | None, str | None]:
    return (
        settings.nats_password.get_secret_value() if settings.nats_password else None,
        settings.redis_password.get_secret_value() if settings.redis_password else None,
    )


def test_what_runs_in_the_sandbox_is_found_without_saying_so(home: Path) -> None:
    up(home)

    service = find(None, None)

    assert (service.url, service.key) == ("http://127.0.0.1:4001", "file-key")
    assert service.settings.nats_url == "nats://127.0.0.1:4222"
    assert service.settings.redis_port == 6380
    assert secrets(service.settings) == ("ops-password", "redis-password")


def test_flags_and_the_environment_say_more(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up(home)
    monkeypatch.setenv("NATS_URL", "nats://elsewhere:4222")

    service = find("https://elsewhere/", "said-key")

    assert (service.url, service.key) == ("https://elsewhere", "said-key")
    assert service.settings.nats_url == "nats://elsewhere:4222"
    assert secrets(service.settings)[0] is None


def test_what_a_killed_service_left_behind_is_not_believed(home: Path) -> None:
    up(home, pid=2**22 + 1)

    with pytest.raises(CannotDo, match="make up"):
        broker_and_redis()


def test_a_span_a_position_and_a_time_are_understood() -> None:
    near = since("10m").time
    assert near is not None
    assert timedelta(minutes=9) < utc_now() - near < timedelta(minutes=11)
    assert since("1234") == Since(position=1234)
    assert since("2026-01-31T12:00:00+00:00").time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    with pytest.raises(CannotDo, match="span"):
        since("yesterday")
