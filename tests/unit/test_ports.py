"""Loopback ports: whoever is given one is the only one who is given it."""

from __future__ import annotations

import subprocess
import sys

from actors.machine import ports


def given_elsewhere(port: int) -> bool:
    """Ask for a port in another process."""
    program = f"from actors.machine import ports; print(ports.promise({port}))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout == "True\n"


def test_a_port_that_nobody_listens_on_yet_is_given_to_one_process_only() -> None:
    port = ports.free_port()

    assert not ports.promise(port)
    assert not given_elsewhere(port)


def test_a_process_that_ended_gives_its_ports_back() -> None:
    port = 11_999

    assert given_elsewhere(port)
    assert given_elsewhere(port)


def test_what_was_given_long_ago_can_be_given_again() -> None:
    first = ports.free_port()
    for _ in range(ports.PROMISES):
        ports.free_port()

    assert given_elsewhere(first)
