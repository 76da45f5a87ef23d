"""What figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

from actors.browser.executable import find_executable
from actors.machine.servers import program


def told() -> str:
    """One line: cores and memory, and the versions of what was measured."""
    memory = psutil.virtual_memory().total / 2**30
    return "; ".join(
        (
            f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB",
            f"load {os.getloadavg()[0]:.1f}",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            _said([program("nats-server", "make setup installs it"), "--version"]),
            _said([program("redis-server", "apt-get install redis-server"), "--version"]),
            _said([str(find_executable(None)), "--version"]),
        )
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    # Redis goes on with its build, which is nobody's concern.
    return done.stdout.strip().partition(" sha=")[0]
