"""The report of a run: a table for the terminal, JSON to compare, a page with charts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.load.charts import page
from tests.load.figures import DEFINED, Figures
from tests.load.meters import OURS
from tests.load.promise import Verdict, verdicts
from tests.load.run import Seen


def show(figures: Figures, machine: str, console: Console) -> None:
    """Print everything."""
    for table in (_routes(figures), _parts(figures), _facts(figures), _verdicts(figures)):
        console.print(table)
    for what, times in figures.failures.items():
        console.print(f"failed: {what}, {times} times")
    for trouble in figures.troubles:
        console.print(f"not as planned: {trouble}")
    for name, meaning in DEFINED.items():
        console.print(f"[dim]{name}: {meaning}[/dim]")
    console.print(machine)


def write(seen: Seen, figures: Figures, machine: str, folder: Path) -> None:
    """Write `load.json` and `load.html`; the runs of other sizes stay, each under its own."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        "machine": machine,
        "plan": dataclasses.asdict(seen.plan),
        "figures": dataclasses.asdict(figures),
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts(figures)],
        "definitions": DEFINED,
        "findings": seen.findings.lists(),
        "samples": [dataclasses.asdict(sample) for sample in seen.samples],
        "memory": [dataclasses.asdict(memory) for memory in seen.memory],
    }
    text = json.dumps(plain, indent=1)
    (folder / "load.json").write_text(text)
    (folder / f"load-{figures.users}.json").write_text(text)
    (folder / "load.html").write_text(page(seen, figures, machine))


def _routes(figures: Figures) -> Table:
    table = Table(title="Requests, in ms")
    for head in ("route", "requests", "success", "mean", "p50", "p95", "p99", "longest"):
        table.add_column(head, justify="left" if head == "route" else "right")
    for r in figures.routes:
        times = (r.mean, r.p50, r.p95, r.p99, r.longest)
        table.add_row(r.name, str(r.requests), f"{r.share:.3%}", *(f"{t:.1f}" for t in times))
    return table


def _parts(figures: Figures) -> Table:
    table = Table(title="Parts")
    for head in ("part", "CPU at work", "CPU silent", "PSS MB"):
        table.add_column(head, justify="left" if head == "part" else "right")
    for name in figures.cpu:
        idle = f"{figures.idle[name]:.1%}" if name in figures.idle else ""
        pss = f"{figures.pss[name]:.0f}" if name in figures.pss else ""
        table.add_row(name, f"{figures.cpu[name]:.1%}", idle, pss)
    all_idle = f"{figures.idle_ours:.1%}" if figures.idle else ""
    ours = sum(figures.cpu.get(name, 0.0) for name in OURS)
    table.add_row(f"ours ({', '.join(OURS)})", f"{ours:.1%}", all_idle, "")
    total = sum(figures.cpu.values())
    table.add_row("in all", f"{total:.1%}", "", f"{figures.pss_total:.0f}")
    return table


def _facts(figures: Figures) -> Table:
    f = figures
    table = Table(title="Run", show_header=False)
    outages = ", ".join(f"{o:.1f} s" for o in f.outages) or "none"
    rows = {
        "messages a second": f"{f.messages_a_second:.1f}",
        "sends answered 202": str(f.accepted),
        "requests over a quota, refused": str(f.refused),
        "browsers killed; ready again after": outages,
        "sessions created, linked and deleted": str(f.cycled),
        "PSS of a session's browser": f"{f.pss_a_session:.1f} MB",
        "event lag p50, p99": f"{1_000 * f.lag_p50:.1f} ms, {1_000 * f.lag_p99:.1f} ms",
        "read models behind, at most": f"{f.behind} events",
    }
    for what, value in rows.items():
        table.add_row(what, value)
    return table


def _verdicts(figures: Figures) -> Table:
    table = Table(title="Promised (fails the run) and aimed at (does not)")
    for head in ("", "what", "asked", "measured"):
        table.add_column(head)
    for verdict in verdicts(figures):
        table.add_row(_mark(verdict), verdict.what, verdict.promised, verdict.measured)
    return table


def _mark(verdict: Verdict) -> str:
    if verdict.holds:
        return "[green]met[/green]"
    return "[yellow]missed[/yellow]" if verdict.aim else "[red]BROKEN[/red]"
