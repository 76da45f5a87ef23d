"""No secret reaches a log line."""

from __future__ import annotations

import json
import logging as standard
from collections.abc import Iterator

import pytest
import structlog

from events import logging
from events.settings import Settings


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    held, handlers, level = (
        structlog.get_config(),
        standard.getLogger().handlers,
        standard.getLogger().level,
    )
    yield
    structlog.configure(**held)
    standard.getLogger().handlers = handlers
    standard.getLogger().setLevel(level)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("key", ["body", "phone", "qr", "code", "to", "api_key", "Password"])
def test_a_secret_key_is_left_out(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_json=True), "test")

    structlog.get_logger().info("session.ready", **{key: "hush", "session": "a.b"})

    (line,) = _lines(capsys)
    assert (line["event"], line["session"], line["process"]) == ("session.ready", "a.b", "test")
    assert "hush" not in json.dumps(line)


def test_a_test_fails_on_a_secret_key() -> None:
    logging.configure(Settings(), "test", strict=True)

    with pytest.raises(logging.SecretInLog, match=r"session\.ready: phone"):
        structlog.get_logger().info("session.ready", phone="491701234567")


@pytest.mark.parametrize(
    "text",
    [
        "no chat hush@c.us here",
        "nats://user:hush@127.0.0.1:4222 refused",
        "GET /api/events?session=*&api_key=hush&x=1",
        "1 error [type=str, input_value='hush', input_type=str]",
    ],
    ids=["chat id", "credentials in a URL", "key in a query", "pydantic's input"],
)
def test_a_secret_inside_a_text_is_hidden(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_json=True), "test")

    structlog.get_logger().warning("it.failed", error=text)
    standard.getLogger("somebody.else").warning(text)

    first, second = _lines(capsys)
    assert "hush" not in json.dumps([first, second])
    assert second["level"] == "warning"


def test_an_exception_is_told_without_its_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_json=True), "test")
    body = "hush"

    try:
        raise ValueError(f"{len(body)} characters")
    except ValueError:
        structlog.get_logger().exception("it.failed")

    (line,) = _lines(capsys)
    assert "4 characters" in str(line["exception"])
    assert "hush" not in json.dumps(line)


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_json=True, log_level="warning"), "test")

    structlog.get_logger().info("it.happened")
    structlog.get_logger().warning("it.failed")

    assert [line["event"] for line in _lines(capsys)] == ["it.failed"]
