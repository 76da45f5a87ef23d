"""`make load`: run it, report it; 1 if a promise is broken (USERS=100 DURATION=10m RATE=10)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog
import uvloop
from rich.console import Console
from rich.status import Status

from tests.faults import machine
from tests.faults.soak import seconds
from tests.load import report
from tests.load.figures import figures
from tests.load.plan import Plan
from tests.load.promise import kept
from tests.load.run import Say, run

OUT = Path("build")


def main() -> int:
    """Run; return an exit status."""
    asked = _asked()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = machine.told()
    # In a file, a table as wide as a terminal of 80 columns would break its cells.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with tempfile.TemporaryDirectory(prefix="wa-load-") as folder:
        home = Path(folder)
        plan = _plan(asked)
        with (
            console.status(f"{plan.users} users") as status,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            seen = runner.run(run(plan, home, _teller(console, status)))
    found = figures(seen)
    report.show(found, told, console)
    report.write(seen, found, told, OUT)
    if not seen.findings.clean:
        console.print(seen.findings.told(), markup=False)
    console.print(f"written: {OUT}/load.json, {OUT}/load.html")
    return 0 if kept(found) else 1


def _teller(console: Console, status: Status) -> Say:
    began = time.monotonic()

    def say(line: str) -> None:
        told = f"load {time.monotonic() - began:6.0f} s  {line}"
        # What a terminal shows in one line that changes, a file gets line by line.
        if console.is_terminal:
            status.update(told)
        else:
            console.print(told, markup=False, highlight=False)

    return say


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--duration", type=seconds, default=seconds("10m"), help="90s, 10m, 1h")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a user and minute")
    parser.add_argument("--kills", type=int, help="browsers killed (three in ten minutes)")
    parser.add_argument("--churn", type=seconds, help="pause between creates and deletes; 0: none")
    parser.add_argument("--idle", type=seconds, help="watch silent sessions for so long (20s)")
    parser.add_argument("--no-restart", action="store_true")
    return parser.parse_args()


def _plan(asked: argparse.Namespace) -> Plan:
    standard = Plan()
    return Plan(
        users=asked.users,
        duration=asked.duration,
        rate=asked.rate,
        kills=asked.kills,
        churn=standard.churn if asked.churn is None else asked.churn,
        idle=standard.idle if asked.idle is None else asked.idle,
        restart=not asked.no_restart,
    )


if __name__ == "__main__":
    sys.exit(main())
