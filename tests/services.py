"""Real nats-server and redis-server processes for tests.

Start them from the main thread: they die with the thread that started them,
so that a test run that is killed leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from actors.machine.ports import free_port

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_BOOT = 60.0

COPIED_AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A master waits five seconds for more copies before it sends the first one anything."""

SERVICE = "wa"
"""What the Sentinels of tests call the master."""


class DidNotStart(Exception):
    """A server for the tests is missing or does not come up."""


def binary(name: str) -> str:
    """Find a server program: the virtual environment's first, then the system's."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DidNotStart(f"{name} is not installed")
    return found


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Server:
    """One server process that can be killed and started again on the same port and data."""

    name: str
    command: list[str]
    port: int
    home: Path
    is_up: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """Start the process and do not wait for it to answer."""
        with (self.home / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.home,
                preexec_fn=_die_with_parent,
            )

    def wait_until_up(self, patience: float = _BOOT) -> None:
        """Wait until the server serves."""
        give_up = time.monotonic() + patience
        while not self.is_up():
            if not self.running or time.monotonic() > give_up:
                raise DidNotStart(f"{self.name}: {self.tail_of_log()}")
            time.sleep(0.02)

    def start(self) -> None:
        """Start and wait until the server serves."""
        self.spawn()
        self.wait_until_up()

    def kill(self) -> None:
        """Kill it as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze the process: it keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)
        if self.process is not None and self.running:
            # The signal stops one thread after the other; the last may still give an answer.
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def tail_of_log(self) -> str:
        """Return the last lines that the server wrote."""
        written = (self.home / f"{self.name}.log").read_text(errors="replace")
        return " | ".join(written.splitlines()[-5:])

    def _signal(self, number: int) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(number)

    def _end(self, number: int) -> None:
        self.resume()
        self._signal(number)
        if self.process is not None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass
class NatsServer(Server):
    """A nats-server with JetStream."""

    monitor: int = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"


@dataclass
class RedisServer(Server):
    """A redis-server."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"


@dataclass
class RedisCluster:
    """Redis servers that part the slots among them, and copies of the first if there are any."""

    masters: list[RedisServer]
    copies: list[RedisServer]

    @property
    def url(self) -> str:
        """The `REDIS_URL` of it."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.masters)
        return f"redis+cluster://{hosts}"

    def clear(self) -> None:
        """Forget every key."""
        for server in self.masters:
            with redis.Redis(port=server.port) as client:
                client.flushall()


@dataclass
class RedisPair:
    """A master, its copy, and a Sentinel that lets the copy take over."""

    master: RedisServer
    copy: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        """The `REDIS_URL` of it; the first Sentinel that it names is not there."""
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/{SERVICE}"


@dataclass
class NatsCluster:
    """Three nats-servers that keep three copies of each stream."""

    servers: list[NatsServer]

    @property
    def url(self) -> str:
        """Where clients connect: all three."""
        return ",".join(server.url for server in self.servers)

    @property
    def urls(self) -> list[str]:
        """The three servers, one by one."""
        return [server.url for server in self.servers]


@contextlib.contextmanager
def nats_server(
    home: Path, *, config: str = "", port: int | None = None, durable: bool = False
) -> Iterator[NatsServer]:
    """Run one nats-server; `config` is added to its file (users, permissions).

    A `durable` one syncs each write before it answers, as the product's does.
    """
    server = _nats(home, "nats", port or free_port(), config, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def nats_cluster(home: Path, *, config: str = "") -> Iterator[NatsCluster]:
    """Run three nats-servers as one cluster; returns when it has a leader."""
    routes = [free_port() for _ in range(3)]
    told = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    servers: list[NatsServer] = []
    try:
        for number, route in enumerate(routes, 1):
            cluster = f'cluster {{ name: test, listen: "127.0.0.1:{route}", routes: [{told}] }}'
            server = _nats(home, f"nats-{number}", free_port(), f"{config}\n{cluster}")
            servers.append(server)
            server.spawn()
        for server in servers:
            server.wait_until_up(40)
        yield NatsCluster(servers)
    finally:
        for server in servers:
            server.kill()


@contextlib.contextmanager
def redis_server(
    home: Path,
    *,
    appendonly: bool = True,
    port: int | None = None,
    options: tuple[str, ...] = (),
    tls: bool = False,
) -> Iterator[RedisServer]:
    """Run one redis-server with an append-only file that is synced every second.

    With `tls` it listens with the certificate that `options` name, and no other way.
    """
    place = home / "redis"
    place.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    listens = ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
    durable = ["--appendonly", "yes", "--appendfsync", "everysec"] if appendonly else []
    server = RedisServer(
        name="redis",
        command=[
            *(binary("redis-server"), "--bind", "127.0.0.1", *listens),
            *("--dir", str(place), "--save", "", "--daemonize", "no", *durable, *options),
        ],
        port=port,
        home=place,
        is_up=lambda: _is_listened_to(port) if tls else _redis_answers(port),
    )
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def redis_cluster(
    home: Path, *, copies: int = 0, timeout: int = 15_000, options: tuple[str, ...] = ()
) -> Iterator[RedisCluster]:
    """Run three masters as one cluster, and copies of the first; `timeout` in milliseconds."""
    with contextlib.ExitStack() as running:
        servers: list[RedisServer] = []
        buses: list[int] = []
        for number in range(3 + copies):
            bus = free_port()
            told = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
            told += ("--cluster-port", str(bus), "--cluster-node-timeout", str(timeout))
            # A copy takes over however long it had not heard of its master.
            told += ("--cluster-replica-validity-factor", "0", *options)
            place = home / f"redis-{number}"
            servers.append(running.enter_context(redis_server(place, options=told)))
            buses.append(bus)
        clients = [running.enter_context(_asking(server)) for server in servers]
        bounds = [0, 5_461, 10_923, 16_384]
        for number, client in enumerate(clients[:3]):
            slots = bounds[number], bounds[number + 1] - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server, bus in zip(servers[1:], buses[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        _until(lambda: all(_knows(client, len(servers)) for client in clients))
        first = clients[0].execute_command("CLUSTER", "MYID")
        for client in clients[3:]:
            client.execute_command("CLUSTER", "REPLICATE", first)
        _until(lambda: all(_serves(client) for client in clients))
        _until(lambda: _has_copies(clients[0], copies))
        yield RedisCluster(servers[:3], servers[3:])


@contextlib.contextmanager
def redis_pair(home: Path, *, down_after: int = 1_000) -> Iterator[RedisPair]:
    """Run a master with one copy and a Sentinel; `down_after` in milliseconds."""
    with contextlib.ExitStack() as running:
        master = running.enter_context(redis_server(home / "one", options=COPIED_AT_ONCE))
        follows = ("--replicaof", f"127.0.0.1 {master.port}", *COPIED_AT_ONCE)
        copy = running.enter_context(redis_server(home / "two", options=follows))
        asked = running.enter_context(_asking(master))
        _until(lambda: _has_copies(asked, 1))
        # A Sentinel writes what it learns into its configuration.
        place, port = home / "sentinel", free_port()
        place.mkdir()
        file = place / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after}\n"
        )
        command = [binary("redis-server"), str(file), "--sentinel"]
        sentinel = RedisServer("redis", command, port, place, lambda: _redis_answers(port))
        running.callback(sentinel.kill)
        sentinel.start()
        named = running.enter_context(_asking(sentinel))
        _until(lambda: named.sentinel_master(SERVICE)["num-slaves"] == 1)
        yield RedisPair(master, copy, sentinel)


def _asking(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, socket_timeout=10)


def _knows(client: redis.Redis, servers: int) -> bool:
    return int(client.cluster("INFO")["cluster_known_nodes"]) == servers


def _serves(client: redis.Redis) -> bool:
    return client.cluster("INFO")["cluster_state"] == "ok"


def _has_copies(client: redis.Redis, copies: int) -> bool:
    told = client.info("replication")
    states = [told[f"slave{n}"]["state"] for n in range(told["connected_slaves"])]
    return states.count("online") == copies


def _until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _BOOT
    while not true():
        if time.monotonic() > give_up:
            raise DidNotStart("the servers did not find one another")
        time.sleep(0.02)


def _nats(home: Path, name: str, port: int, config: str, *, durable: bool = False) -> NatsServer:
    sync = ", sync_interval: always" if durable else ""
    place = home / name
    place.mkdir(parents=True, exist_ok=True)
    monitor = free_port()
    file = place / "nats.conf"
    file.write_text(
        f'server_name: {name}\nlisten: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor}"\n'
        f'jetstream {{ store_dir: "{place}/jetstream", max_mem: 256M, max_file: 4G{sync} }}\n'
        f"{config}\n"
    )
    return NatsServer(
        name=name,
        command=[binary("nats-server"), "-c", str(file)],
        port=port,
        home=place,
        is_up=lambda: _nats_is_healthy(monitor),
        monitor=monitor,
    )


def _nats_is_healthy(monitor: int) -> bool:
    # /healthz says yes only when JetStream is up and, in a cluster, has a leader.
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/healthz", timeout=1) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def _is_listened_to(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _redis_answers(port: int) -> bool:
    # Also false while it still loads its file: the answer to PING is then -LOADING.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
