"""The configuration: from the environment, checked, and named by variable when it is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.settings import BadSettings, Settings, load
from events.subjects import BadToken


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from no variable at all, in a folder without a `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_set() -> None:
    settings = load()

    assert (settings.host, settings.port) == ("127.0.0.1", 3001)
    assert settings.api_key is None
    assert settings.home == Path("data/live")
    assert settings.profiles == Path("data/live/profiles")


def test_a_frozen_page_is_noticed_within_fifteen_seconds() -> None:
    settings = load()

    # At worst it freezes when it has just answered.
    assert settings.probe_interval + settings.probe_timeout < 15


SANDBOXES = """
https://127.0.0.1:8443           yes
https://127.0.0.1:8443/          yes
https://127.8.9.10:8443          yes
https://localhost:8443           yes
https://[::1]:8443               yes
http://127.0.0.1:8443            not https
https://127.0.0.1                no port
https://127.0.0.1:99999          no such port
https://127.0.0.1:x              no such port
https://10.0.0.1:8443            another machine
https://0.0.0.0:8443             every machine
https://web.whatsapp.com:443     the real one
https://localhost.evil.com:8443  another name
https://127.0.0.1.evil.com:8443  another name
https://127.0.0.1@evil.com:8443  a user, and another name
https://[::2]:8443               another machine
127.0.0.1:8443                   no scheme
file:///some/page                no scheme for this
https://:8443                    no host
"""


@pytest.mark.parametrize("row", SANDBOXES.strip().splitlines())
def test_a_sandbox_is_https_on_this_machine_or_refused(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, verdict = row.split(maxsplit=1)
    monkeypatch.setenv("SANDBOX_URL", url)

    if verdict == "yes":
        assert load().sandbox_url == url.rstrip("/")
    else:
        with pytest.raises(BadSettings, match=r"^SANDBOX_URL: "):
            load()


def test_the_sandbox_keeps_its_data_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "kept")
    live = load()
    monkeypatch.setenv("SANDBOX_URL", "https://127.0.0.1:8443")
    sandbox = load()

    assert live.home == Path("kept/live")
    assert sandbox.home == Path("kept/sandbox")
    assert not sandbox.api_key_file.is_relative_to(live.home)


EMPTY = [
    "NATS_URL",
    "NATS_PASSWORD",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "API_KEY",
    "PUPPETEER_EXECUTABLE_PATH",
    "SANDBOX_URL",
]


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_value_is_no_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    assert not getattr(load(), name.lower())


BAD = """
PORT                   70000
PORT                   http
NATS_PORT              -1
REDIS_PORT             0
REPLICAS               6
REPLICAS               0
MAX_SESSIONS           0
MAX_SESSIONS_PER_USER  0
START_CONCURRENCY      0
BROWSER_HEAP_MB        63
BACKOFF_FIRST          0
BACKOFF_JITTER         1.1
BACKOFF_ATTEMPTS       0
QR_MAX                 0
SEND_DEADLINE          0
MAX_MESSAGE_CHARS      65537
DEDUPE_WINDOW          0.5
PROBE_TIMEOUT          soon
LOG_LEVEL              loud
LOG_JSON               perhaps
NODE                   a.b
NODE                   >
"""


@pytest.mark.parametrize("row", BAD.strip().splitlines())
def test_a_bad_value_is_named_by_its_variable(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = row.split()
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSettings, match=f"^{name}: "):
        load()


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "-1")
    monkeypatch.setenv("QR_MAX", "none")

    with pytest.raises(BadSettings) as refused:
        load()

    assert {line.split(":")[0] for line in str(refused.value).split("; ")} == {"PORT", "QR_MAX"}


def test_a_refusal_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "hush-1")
    monkeypatch.setenv("NATS_PASSWORD", "hush-2")
    monkeypatch.setenv("PORT", "hush-3")

    with pytest.raises(BadSettings) as refused:
        load()

    assert "hush" not in str(refused.value)


def test_secrets_do_not_show_when_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "NATS_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.setenv(name, "hush")

    assert "hush" not in f"{load()!r} {load()}"


def test_a_file_beside_it_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("PORT=4001\nQR_MAX=9\nNOT_OURS=1\n")
    monkeypatch.setenv("PORT", "4002")

    settings = load()

    assert (settings.port, settings.qr_max) == (4002, 9)


@pytest.mark.parametrize(
    ("host", "node"),
    [("n1", "n1"), ("n1.example.org", "n1-example-org"), ("ü" * 70, "-" * 64), ("", "node")],
)
def test_a_node_is_called_as_its_machine_where_that_is_a_token(
    host: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    assert load().node == node


def test_a_node_keeps_the_name_its_data_folder_knows_until_it_is_given_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Settings().node_file
    kept.parent.mkdir(parents=True)
    kept.write_text("before-the-move\n")
    monkeypatch.setattr("socket.gethostname", lambda: "after-the-move")

    assert load().node == "before-the-move"
    monkeypatch.setenv("NODE", "told")
    assert load().node == "told"


def test_a_kept_name_that_is_none_is_refused_by_its_variable() -> None:
    kept = Settings().node_file
    kept.parent.mkdir(parents=True)
    kept.write_text("two words")

    with pytest.raises(BadSettings, match="NODE"):
        load()


def test_a_bad_node_given_in_code_is_refused_too() -> None:
    with pytest.raises(ValueError, match="NODE must be"):
        Settings(node="a b")  # pyright: ignore[reportCallIssue]
    assert issubclass(BadToken, ValueError)


def test_settings_cannot_be_changed() -> None:
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_every_knob_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
