"""Results as a table for people and as JSON for machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.result import Result, spread

HEAD = (
    *(
        "experiment",
        "letter",
        "seed",
        "strikes",
        "sessions",
        "accepted",
        "a second",
        "refused",
        "received",
    ),
    *("lost", "doubled", "phantom", "stale", "disordered", "unsettled"),
    *("gone along", "repeats", "took s", "recovery s (median/longest)"),
)


def table(results: Sequence[Result]) -> str:
    """Write one line for each run."""
    return aligned(HEAD, (_row(result) for result in results))


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown, its columns aligned for a terminal."""
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))} |"
        for row in cells
    )


def _row(result: Result) -> tuple[str, ...]:
    counts = (str(len(found)) for found in result.findings.lists().values())
    numbers = (result.seed, result.strikes, result.sessions, result.accepted)
    kinds = result.recovery if len(result.recovery) > 1 else {}
    by_kind = ", ".join(f"{kind} {spread(times)}" for kind, times in sorted(kinds.items()))
    return (
        result.experiment,
        result.letter,
        *(str(number) for number in numbers),
        f"{result.rate:.1f}",
        str(result.refused),
        str(result.received),
        *counts,
        str(len(result.gone_along)),
        str(result.repeats),
        f"{result.took:.0f}",
        spread(result.recovered) + (f" ({by_kind})" if by_kind else ""),
    )


def write(results: Sequence[Result], path: Path) -> None:
    """Write everything that is known as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
