"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog

# `tests.services` and `tests.fakes` are importable however pytest was started.
sys.path.insert(0, str(Path(__file__).parent.parent))

from events.logging import refuse_secrets
from tests import services

_SERVICES = frozenset(
    {"shared_redis", "shared_redis_cluster", "nats_url", "redis_port", "own_nats", "own_redis"}
    | {"cluster", "redis_url"}
)


def pytest_configure() -> None:
    """Let every test fail on a log line that names a secret."""
    _configure_log()


def _configure_log() -> None:
    structlog.configure(
        processors=[
            refuse_secrets,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False),
        ]
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a real server, so that `-m "not services"` is the quick run."""
    for item in items:
        if isinstance(item, pytest.Function) and _SERVICES & set(item.fixturenames):
            item.add_marker("services")


@pytest.fixture(autouse=True)
def _log_is_configured_for_tests() -> Iterator[None]:
    """Undo what a program that a test ran in this process made of the log."""
    yield
    structlog.reset_defaults()
    _configure_log()


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own configuration out of the tests."""
    for name in ("NATS_URL", "NATS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name in ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("API_KEY", "SANDBOX_URL", "DATA_DIR", "LOG_LEVEL", "LOG_JSON"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.RedisServer]:
    """One redis-server for the whole run. Do not kill it: take `own_redis` for that."""
    with services.redis_server(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server


@pytest.fixture
def nats_url(own_nats: services.NatsServer) -> str:
    """A NATS with no stream and no bucket on it.

    A server for each test: it starts in 60 ms, and streams that are deleted and made
    again on one that is kept now and then end in "error creating store for stream".
    """
    return own_nats.url


@pytest.fixture
def redis_port(shared_redis: services.RedisServer) -> int:
    """The port of the shared Redis, empty."""
    with redis.Redis(port=shared_redis.port) as client:
        client.flushall()
    return shared_redis.port


@pytest.fixture(scope="session")
def shared_redis_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[services.RedisCluster]:
    """One Redis Cluster for the whole run. Do not kill any of its servers."""
    with services.redis_cluster(tmp_path_factory.mktemp("redis-cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["server", "cluster"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """The `REDIS_URL` of the shared Redis, empty, and then that of the shared cluster."""
    return redis_of_kind(request)


def redis_of_kind(request: pytest.FixtureRequest) -> str:
    """Empty the shared Redis of the kind that a fixture's parameter names; return its URL."""
    if request.param == "server":
        return f"redis://127.0.0.1:{request.getfixturevalue('redis_port')}"
    cluster: services.RedisCluster = request.getfixturevalue("shared_redis_cluster")
    cluster.clear()
    return cluster.url


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[services.NatsServer]:
    """A nats-server of the test's own, to be killed and started at will."""
    with services.nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[services.RedisServer]:
    """A redis-server of the test's own with an append-only file, to be killed at will."""
    with services.redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[services.NatsCluster]:
    """Three nats-servers of the test's own; declare streams with `replicas=3`."""
    with services.nats_cluster(tmp_path) as servers:
        yield servers
