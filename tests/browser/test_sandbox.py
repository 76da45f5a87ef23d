"""The simulator in WhatsApp's place: only on this machine, only with its own certificate."""

from __future__ import annotations

import socket

import pytest

from actors.browser.protocol import Unreachable
from actors.browser.sandbox import SandboxRefused, network_flags, sandbox_address
from tests.browser.simulated import simulator_url  # noqa: F401  # a fixture


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("https://localhost:8443/", ("127.0.0.1", 8443)),
        ("https://127.8.8.8", ("127.8.8.8", 443)),
        ("https://[::1]:8443", ("::1", 8443)),
    ],
)
def test_a_loopback_address_is_taken(url: str, address: tuple[str, int]) -> None:
    assert sandbox_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8443",
        "https://10.0.0.1:8443",
        "https://example.com",
        "https://web.whatsapp.com",
        "https://127.0.0.1.example.com",
        "https://127.0.0.1:notaport",
        "https://",
        "127.0.0.1:8443",
        "",
    ],
)
def test_anything_else_is_refused_by_name(url: str) -> None:
    with pytest.raises(SandboxRefused, match="SANDBOX_URL"):
        sandbox_address(url)


async def test_a_sandbox_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        with pytest.raises(Unreachable, match="does not answer"):
            await network_flags(f"https://127.0.0.1:{port}", timeout=5)


async def test_a_sandbox_that_says_nothing_is_unreachable_after_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        with pytest.raises(Unreachable):
            await network_flags(f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)


@pytest.mark.browser
async def test_the_pin_is_the_one_of_the_certificate_that_is_served(simulator_url: str) -> None:  # noqa: F811
    resolver, pin, proxy = await network_flags(simulator_url, timeout=5)

    port = simulator_url.rpartition(":")[2]
    assert resolver.startswith(
        f"--host-resolver-rules=MAP web.whatsapp.com 127.0.0.1:{port}, MAP * ~NOTFOUND"
    )
    assert pin.startswith("--ignore-certificate-errors-spki-list=")
    assert len(pin.partition("=")[2]) == 44
    assert proxy == "--no-proxy-server"
