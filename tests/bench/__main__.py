"""`make bench`: measure, show medians and ratios, keep the JSON (RUNS=5 ONLY=peers)."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from events.clock import utc_now
from tests.bench import appends, crowding, peers, rebuilding, sending, snapshots
from tests.bench.rows import Row, Say
from tests.faults import machine

OUT = Path("build")
Measure = Callable[[Path, int, Say], Awaitable[list[Row]]]

PARTS: dict[str, Measure] = {
    "sending": sending.measure,
    "peers": peers.measure,
    "appends": appends.measure,
    "rebuilding": rebuilding.measure,
    "crowding": crowding.measure,
    "snapshots": snapshots.measure,
}


def main() -> int:
    """Measure; 1 if a figure is out of its bounds."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    asked = parser.parse_args()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    rows: dict[str, list[Row]] = {}
    told = machine.told()
    for name in asked.only or PARTS:
        # The loop of the service's own parts; what is measured here is no other's.
        with (
            tempfile.TemporaryDirectory(prefix="wa-bench-") as home,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            rows[name] = runner.run(_measure(PARTS[name], Path(home), asked.runs, console))
        console.print(_table(name, rows[name]))
        _keep(rows, told, utc_now())
    console.print(told)
    return 1 if any(row.holds is False for part in rows.values() for row in part) else 0


async def _measure(measure: Measure, home: Path, runs: int, console: Console) -> list[Row]:
    return await measure(home, runs, lambda line: console.print(line, markup=False))


def _table(name: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{name}: medians of repeated runs")
    for head in ("what", "ours", "other", "ratio", "asked", ""):
        table.add_column(head, justify="right" if head in {"ours", "other", "ratio"} else "left")
    for row in rows:
        other = f"{_number(statistics.median(row.other))} ({row.beside})" if row.other else ""
        table.add_row(
            row.what,
            f"{_number(row.median)} {row.unit}",
            other,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.asked,
            {True: "met", False: "missed", None: ""}[row.holds],
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _keep(rows: dict[str, list[Row]], told: str, at: datetime) -> None:
    """Write what is known so far: the newest, and one file for each time to compare with."""
    OUT.mkdir(parents=True, exist_ok=True)
    plain = {
        "machine": told,
        "at": at.isoformat(),
        "rows": {
            name: [
                dataclasses.asdict(row)
                | {"median": row.median, "ratio": row.ratio, "holds": row.holds}
                for row in part
            ]
            for name, part in rows.items()
        },
    }
    (OUT / "bench.json").write_text(json.dumps(plain, indent=1))
    (OUT / f"bench-{at:%Y%m%d-%H%M}.json").write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    sys.exit(main())
