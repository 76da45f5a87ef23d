"""What a launch may take: of the machine, and of the container that the node is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actors.memory import MB, MEASURED, LinuxMachine, tree


def a_container(folder: Path, limit: str, held: int, idle: int) -> Path:
    """The files of a control group."""
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{held}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {idle}\nslab 2\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "held", "idle", "room"),
    [
        pytest.param(10 * MB, 4 * MB, 0, 6, id="what is left"),
        pytest.param(10 * MB, 9 * MB, 3 * MB, 4, id="files that may be forgotten are free"),
        pytest.param(10 * MB, 11 * MB, 0, 0, id="over its limit"),
    ],
)
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, limit: int, held: int, idle: int, room: int
) -> None:
    machine = LinuxMachine(a_container(tmp_path, str(limit), held, idle))

    assert machine.available_mb() == room


def test_a_container_without_a_limit_has_the_machine(tmp_path: Path) -> None:
    machine = LinuxMachine(a_container(tmp_path, "max", 4 * MB, 0))

    assert machine.available_mb() > 0


def test_a_limit_above_the_machine_gives_no_more_than_it_has(tmp_path: Path) -> None:
    has = psutil.virtual_memory().total

    machine = LinuxMachine(a_container(tmp_path, str(100 * has), 0, 0))

    assert machine.available_mb() <= has // MB


def test_without_a_container_it_is_the_machine(tmp_path: Path) -> None:
    assert LinuxMachine(tmp_path).available_mb() > 0


def test_a_browser_is_weighed_with_all_that_it_started() -> None:
    shell = "sh -c 'sleep 60 & echo there; wait' & wait"
    with subprocess.Popen(
        ["sh", "-c", shell], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "there\n"

        found = tree(parent.pid)

        below = psutil.Process(parent.pid).children(recursive=True)
        assert len(below) == 2
        assert found == [parent.pid, *(child.pid for child in below)]
        assert LinuxMachine().cost(parent.pid) is not None
        os.killpg(parent.pid, signal.SIGKILL)


GROWS = """
import sys
held = bytearray()
for line in sys.stdin:
    held = bytearray(int(line) * 1048576)
    held[::4096] = bytes(1 for _ in held[::4096])
    print("held", flush=True)
"""


def test_what_a_browser_grew_by_is_seen_between_two_measurements() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as grown:
        machine = LinuxMachine()

        def at(size: int) -> int:
            assert grown.stdin is not None
            assert grown.stdout is not None
            grown.stdin.write(f"{size}\n")
            grown.stdin.flush()
            assert grown.stdout.readline() == "held\n"
            cost = machine.cost(grown.pid)
            assert cost is not None
            return cost.memory_mb

        sizes = [1, 101, 51, *[51] * MEASURED, 201]
        seen = [at(size) for size in sizes]
        grown.kill()

    # To the megabyte or two that Python takes for itself, measured or not.
    assert [round((each - seen[0]) / 10) * 10 for each in seen] == [
        round((size - 1) / 10) * 10 for size in sizes
    ]


REPLACES = """
import subprocess
import sys
child = None
for line in sys.stdin:
    if child is not None:
        child.kill()
        child.wait()
    text = f"held = b'1' * {int(line)} * 1048576; print('held', flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    print(child.stdout.readline(), end="", flush=True)
"""


def test_a_browser_whose_processes_changed_is_measured_anew() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", REPLACES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        machine, seen = LinuxMachine(), list[int]()
        for size in (20, 120):
            parent.stdin.write(f"{size}\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == "held\n"
            cost = machine.cost(parent.pid)
            assert cost is not None
            seen.append(cost.memory_mb)
        os.killpg(parent.pid, signal.SIGKILL)

    assert 90 < seen[1] - seen[0] < 110


def test_a_browser_that_is_gone_is_not_weighed() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass

    assert LinuxMachine().cost(gone.pid) is None
