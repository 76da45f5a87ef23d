"""Whom this service may call: the table, and that the address checked is the one connected to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpcore
import pytest

from events.settings import Settings
from gateway.addresses import Forbidden, Guarded, Reachable, bad_url
from tests.simulator.certificate import HOST, server_context

REFUSED = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.8.9.10",
    "private, 10": "10.0.0.1",
    "private, 172.16": "172.31.255.255",
    "private, 192.168": "192.168.1.1",
    "carrier-grade NAT": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata of clouds": "169.254.169.254",
    "metadata of one that is public": "168.63.129.16",
    "metadata in carrier-grade NAT": "100.100.100.200",
    "this host": "0.0.0.0",
    "multicast": "224.0.0.1",
    "multicast that is global": "233.252.0.1",
    "broadcast": "255.255.255.255",
    "reserved": "240.0.0.1",
    "documentation": "192.0.2.1",
    "IPv6 loopback": "::1",
    "IPv6 nothing": "::",
    "IPv6 private": "fd12:3456::1",
    "IPv6 metadata": "fd00:ec2::254",
    "IPv6 link-local": "fe80::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 multicast that is global": "ff0e::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "compatible loopback": "::127.0.0.1",
    "6to4 of a private one": "2002:0a00:0001::1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "Teredo of a private one": "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "6to4 relay of old": "192.88.99.1",
    "IPv6 site of old": "fec0::1",
    "IPv6 documentation": "3fff::1",
}
PUBLIC = {
    "IPv4": "93.184.215.14",
    "IPv6": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "mapped": "::ffff:93.184.215.14",
    "NAT64": "64:ff9b::5db8:d70e",
}


@pytest.mark.parametrize("written", REFUSED.values(), ids=REFUSED)
def test_an_address_that_is_not_public_is_refused(written: str) -> None:
    assert ip_address(written) not in Reachable()


@pytest.mark.parametrize("written", PUBLIC.values(), ids=PUBLIC)
def test_a_public_address_is_not(written: str) -> None:
    assert ip_address(written) in Reachable()


OPENED: dict[str, tuple[str, dict[str, bool]]] = {
    "nothing": ("", {"10.0.0.1": False, "127.0.0.1": False}),
    "false": ("false", {"10.0.0.1": False}),
    "true": (
        "true",
        {"10.0.0.1": True, "127.0.0.1": True, "::1": True, "::ffff:10.0.0.1": True}
        | {"fd12::1": True, "169.254.1.1": False, "224.0.0.1": False}
        | {"169.254.169.254": False, "100.100.100.200": False, "fd00:ec2::254": False},
    ),
    "a network": ("10.1.0.0/16", {"10.1.2.3": True, "10.2.0.1": False, "::ffff:10.1.2.3": True}),
    "two": ("10.1.0.0/16, fd12::/16", {"10.1.2.3": True, "fd12::9": True, "fd13::9": False}),
    "link-local as a whole": ("169.254.0.0/16", {"169.254.1.1": True, "169.254.169.254": False}),
    "metadata by name": ("169.254.169.254/32", {"169.254.169.254": True, "169.254.1.1": False}),
}


@pytest.mark.parametrize(("said", "expected"), OPENED.values(), ids=OPENED)
def test_configuration_opens_what_it_names(said: str, expected: dict[str, bool]) -> None:
    reachable = Reachable.by(Settings(webhook_allow_private=said))

    assert {written: ip_address(written) in reachable for written in expected} == expected


def test_the_sandbox_opens_loopback_and_nothing_else() -> None:
    reachable = Reachable.by(Settings(sandbox_url="https://127.0.0.1:38839"))

    assert ip_address("127.0.0.1") in reachable
    assert ip_address("10.0.0.1") not in reachable


@pytest.mark.parametrize("said", ["yes", "10.0.0.1/8", "10.0.0.0/8;fd00::/8"])
def test_what_configuration_cannot_mean_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="networks with commas"):
        Settings(webhook_allow_private=said)


URLS: dict[str, tuple[str, str]] = {
    "a file": ("file:///etc/passwd", "http or https"),
    "no scheme": ("example.org/hook", "http or https"),
    "no host": ("https:///hook", "http or https"),
    "a port that is none": ("https://example.org:99999/", "must be a URL"),
    "port 0": ("https://example.org:0/", "http or https"),
    "a user": ("https://ann@example.org/", "user or a password"),
    "a password": ("https://ann:secret@example.org/", "user or a password"),
    "a blank": ("https://example.org/a b", "without blanks"),
    "a line break": ("https://example.org/\r\nHost: other", "without blanks"),
    "too long": ("https://example.org/" + "a" * 2_048, "at most"),
    "loopback": ("http://127.0.0.1/", "public address"),
    "IPv6 loopback": ("http://[::1]:80/", "public address"),
    "localhost": ("http://localhost:8080/", "public address"),
    "localhost with a dot": ("http://LOCALHOST./", "public address"),
    "metadata": ("http://169.254.169.254/latest", "public address"),
}


@pytest.mark.parametrize(("url", "rule"), URLS.values(), ids=URLS)
def test_a_url_that_cannot_do_says_which_rule_it_breaks(url: str, rule: str) -> None:
    assert rule in (bad_url(url, Reachable()) or "fine")


@pytest.mark.parametrize("url", ["https://example.org/hook?a=1", "http://93.184.215.14:8080/"])
def test_a_url_that_does_breaks_none(url: str) -> None:
    assert bad_url(url, Reachable()) is None


# Connecting


class Names:
    """A resolver that is asked one name, and answers differently each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Take one request a connection, and keep it."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1], requests


OPEN_LOOPBACK = Reachable([ip_network("127.0.0.1/32")])


@pytest.mark.parametrize("written", REFUSED.values(), ids=REFUSED)
async def test_a_name_of_such_an_address_is_not_connected_to(written: str) -> None:
    async with server() as (port, requests):
        pool = httpcore.AsyncConnectionPool(network_backend=Guarded(Reachable(), Names([written])))

        with pytest.raises(Forbidden):
            await pool.request("GET", f"http://innocent.example:{port}/")

    assert requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
async def test_loopback_is_known_however_it_is_written(host: str) -> None:
    async with server() as (port, requests):
        pool = httpcore.AsyncConnectionPool(network_backend=Guarded(Reachable()))

        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", f"http://{host}:{port}/")

    assert requests == []


async def test_a_name_that_changes_its_mind_is_asked_once() -> None:
    """DNS rebinding: what is connected to is what was checked, and nothing is looked up again."""
    reachable = Reachable([ip_network("127.0.0.1/32")])
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with server() as (port, requests):
        pool = httpcore.AsyncConnectionPool(network_backend=Guarded(reachable, names))

        await pool.request("GET", f"http://rebinding.example:{port}/")
        with pytest.raises(Forbidden):
            await pool.request("GET", f"http://rebinding.example:{port}/")

    assert names.asked == 2
    assert len(requests) == 1


async def test_of_several_addresses_the_open_ones_are_tried() -> None:
    names = Names(["10.0.0.1", "169.254.169.254", "127.0.0.1"])
    async with server() as (port, requests):
        pool = httpcore.AsyncConnectionPool(network_backend=Guarded(OPEN_LOOPBACK, names))

        await pool.request("GET", f"http://several.example:{port}/")

    assert len(requests) == 1


async def test_the_name_stays_in_the_request_and_tls_asks_for_it(tmp_path: Path) -> None:
    tls = server_context(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    guarded = Guarded(OPEN_LOOPBACK, Names(["127.0.0.1"]))
    async with server(tls) as (port, requests):
        pool = httpcore.AsyncConnectionPool(ssl_context=trusting, network_backend=guarded)

        await pool.request("GET", f"https://{HOST}:{port}/")
        with pytest.raises(httpcore.ConnectError, match="certificate"):
            await pool.request("GET", f"https://another.example:{port}/")

    assert [f"host: {HOST}:{port}".encode() in one.lower() for one in requests] == [True]


async def test_a_name_that_nobody_knows_is_a_failed_connection() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("unknown")

    pool = httpcore.AsyncConnectionPool(network_backend=Guarded(Reachable(), nobody))

    with pytest.raises(httpcore.ConnectError, match="not known"):
        await pool.request("GET", "http://nobody.example/")
