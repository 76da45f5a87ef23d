"""The dashboard and the alerts: every query means something to the numbers of a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from events import live
from events import session_events as e
from events.clock import utc_now
from events.subjects import SessionId
from projections.views import ProjectionHealth
from tests.gateway.conftest import KEY, Running, serving, settings_for, until_ready
from tests.gateway.node import IN_A_MINUTE, ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Receiver, receiving
from tests.gateway.webhooks.world import QUICK, hook
from tests.services import DidNotStart, Server, binary, free_port

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")
DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "alerts.yml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"


async def exported(running: Running, node: ScriptedNode) -> str:
    """Have a gateway look at its health once, and scrape it."""
    await node.ready(ONE)
    await running.http.get("/health")
    return (await running.http.get("/metrics")).text


def rules() -> Iterator[tuple[str, str]]:
    """Give the expression of each alert, with its name."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    """Give each expression of the dashboard, with the title of its panel."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def queries() -> Iterator[tuple[str, str]]:
    """Give all of them."""
    yield from rules()
    yield from panels()


_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
_NAME = re.compile(r"\b(?:wa|process|python)_[a-z0-9_]+\b")
_SELECTOR = re.compile(r"\b((?:wa|process)_[a-z0-9_]+)\{([^}]*)\}")


async def test_every_metric_of_alerts_and_dashboard_is_exported(
    running: Running, node: ScriptedNode
) -> None:
    text = await exported(running, node)
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))

    named = {name for _, query in queries() for name in _NAME.findall(query)}
    unknown = {name for name in named if name not in types and _SUFFIX.sub("", name) not in types}

    assert len(named) > 20
    assert unknown == set()


async def test_every_label_of_alerts_and_dashboard_is_exported(
    running: Running, node: ScriptedNode
) -> None:
    text = await exported(running, node)
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)

    missing = [
        f"{where}: {name}{{{label}}}"
        for where, query in queries()
        for name, selector in _SELECTOR.findall(query)
        for label in re.findall(r"(\w+)\s*[=!]", selector)
        if name in labels and label not in labels[name]
    ]

    assert missing == []


def program(name: str) -> str:
    """Find a program of Prometheus; set-up brings it along where it may."""
    try:
        return binary(name)
    except DidNotStart as missing:
        pytest.skip(f"{missing}, and set-up could not fetch it (it said why)")


def checked(what: str, *files: Path, text: str = "") -> str:
    """Run a check of promtool; return what it complains about."""
    command = [program("promtool"), "check", what, *map(str, files)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode or what == "metrics" else ""


def test_prometheus_takes_the_alerts() -> None:
    assert checked("rules", ALERTS) == ""


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query} for number, (_, query) in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert checked("rules", file) == ""


async def test_prometheus_has_nothing_to_say_against_the_names(
    running: Running, node: ScriptedNode
) -> None:
    text = await exported(running, node)

    assert await asyncio.to_thread(checked, "metrics", text=text) == ""


# --- asked of a Prometheus that scrapes a gateway at work -----------------------------


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes one gateway every second."""

    http: httpx.AsyncClient

    async def values(self, query: str) -> list[float]:
        """Ask a query about now; raises AssertionError if it is none."""
        answer = (await self.http.get("/api/v1/query", params={"query": query})).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    async def alerts(self) -> dict[str, tuple[str, str]]:
        """Tell of each rule whether it could be evaluated, and whether it holds."""
        groups = (await self.http.get("/api/v1/rules")).json()["data"]["groups"]
        return {
            rule["name"]: (rule["health"], rule["state"])
            for group in groups
            for rule in group["rules"]
        }


@contextlib.asynccontextmanager
async def prometheus(home: Path, running: Running) -> AsyncIterator[Prometheus]:
    """Run Prometheus on the gateway and our rules, as the head of alerts.yml says."""
    (home / "key").write_text(KEY)
    job = {
        "job_name": "wa-sessions",
        "authorization": {"type": "Bearer", "credentials_file": str(home / "key")},
        "static_configs": [{"targets": [running.url.removeprefix("http://")]}],
    }
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    told = {"global": every, "rule_files": [str(ALERTS)], "scrape_configs": [job]}
    (home / "prometheus.yml").write_text(yaml.safe_dump(told))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(program("prometheus"), f"--config.file={home / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    server = Server("prometheus", command, port, home, lambda: is_ready(url))
    try:
        server.spawn()
        await asyncio.to_thread(server.wait_until_up)
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            yield Prometheus(http)
    finally:
        server.kill()


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def busy(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    """A gateway with quotas and quick webhooks, so that there is something to count of both."""
    settings = settings_for(nats_url, tmp_path, sends_per_minute=100_000, **QUICK)
    async with serving(settings, reads) as made:
        await until_ready(made)
        yield made


async def work(gateway: Running, node: ScriptedNode) -> None:
    """Have everything happen once that a gateway counts."""
    await node.notice(ONE, live.Usage(memory_mb=300, cpu=0.5, mailbox=2))
    await node.event(
        ONE,
        e.Crashed(reason="browser_exited", detail=""),
        e.BackingOff(attempt=1, max_attempts=5, delay=1, until=utc_now() + IN_A_MINUTE),
        e.Queued(reason="backoff_elapsed"),
    )
    await node.starting(ONE)
    await node.ready(ONE)
    await node.message(ONE, received())
    body = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}
    sent = await gateway.http.post("/api/messages/send", json=body)
    assert sent.json()["status"] == "sent", sent.text
    nobody_answers = await gateway.http.get("/api/sessions/user-one/chats")
    assert nobody_answers.status_code == 503
    await gateway.http.get("/health")


async def shown_over(
    server: Prometheus, work: Callable[[], Awaitable[None]]
) -> list[tuple[str, str]]:
    """Work until every panel shows a number; return those that show none after 15 scrapes."""
    unanswered, scrapes = list(panels()), 0.0
    while unanswered and scrapes < 15:
        # A rate is one only between two scrapes, so all of it happens again and again.
        await work()
        unanswered = [
            (title, query)
            for title, query in unanswered
            if not any(map(math.isfinite, await server.values(query)))
        ]
        scrapes = max([0.0, *await server.values("count_over_time(up[5m])")])
    return unanswered


async def test_every_query_of_the_dashboard_has_an_answer_and_every_alert_is_understood(
    busy: Running,
    node: ScriptedNode,
    reads: FakeReads,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    node.intends = True
    reads.projections = [
        ProjectionHealth(projection="sessions", position=1, lag=0, updated=None, stopped=None)
    ]
    await hook(busy.http, receiver)
    await node.ready(ONE)
    await node.suspended(TWO)

    async with prometheus(tmp_path, busy) as server:
        unanswered = await shown_over(server, lambda: work(busy, node))
        alerts = await server.alerts()

    assert unanswered == []
    assert {name: health for name, (health, _) in alerts.items() if health != "ok"} == {}
    assert alerts.keys() == dict(rules()).keys()
    # The one thing that is amiss here, and one that is not.
    assert alerts["WaSessionsSuspended"][1] == "pending"
    assert alerts["WaServerAway"][1] == "inactive"
