"""The HTML page of a run: tables and charts as inline SVG, nothing fetched from anywhere."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from tests.load.figures import DEFINED, Figures, quantile
from tests.load.promise import verdicts
from tests.load.run import Seen

WIDE, HIGH, MARGIN = 900, 240, 56
SLICE = 5.0
"""Seconds of one point of a line over time."""

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f")

Line = Sequence[tuple[float, float]]

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem}
td:nth-child(n+2){text-align:right}.no{color:#c00}.yes{color:#080}svg{width:100%;height:auto}
text{font:12px system-ui,sans-serif}dt{font-weight:600}
"""


def page(seen: Seen, figures: Figures, machine: str) -> str:
    """Draw the whole page."""
    title = f"{figures.users} users on {figures.users} browsers"
    parts = [
        f"<h1>{title}</h1><p>{html.escape(machine)}</p>",
        _verdicts(figures),
        _routes(figures),
        chart("Latency of sends over time, ms", _latency(seen)),
        chart("Sessions by state", _states(seen)),
        chart("Memory (PSS) over time, MB", _memory(seen)),
        chart("CPU of each part, % of a core", _cpu(seen)),
        chart("Read models: events behind", {"behind": [(s.at, s.behind) for s in seen.samples]}),
        "<h2>What the figures mean</h2><dl>",
        *(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in DEFINED.items()),
        "</dl>",
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def chart(title: str, lines: Mapping[str, Line]) -> str:
    """Draw lines over seconds, the vertical axis from zero."""
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    right = max((x for x, _ in points), default=1.0) or 1.0
    top = _round_up(max((y for _, y in points), default=1.0) or 1.0)

    def place(x: float, y: float) -> str:
        across = MARGIN + x / right * (WIDE - 2 * MARGIN)
        return f"{across:.1f},{HIGH - 30 - y / top * (HIGH - 60):.1f}"

    drawn = [_axes(right, top)]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        told = " ".join(place(x, y) for x, y in line if math.isfinite(y))
        drawn.append(f'<polyline points="{told}" fill="none" stroke="{colour}"/>')
        left = MARGIN + number * 105
        drawn.append(f'<text x="{left}" y="14" fill="{colour}">{html.escape(name)}</text>')
    view = f"0 0 {WIDE} {HIGH}"
    return f'<h2>{html.escape(title)}</h2><svg viewBox="{view}" role="img">{"".join(drawn)}</svg>'


def _axes(right: float, top: float) -> str:
    lines: list[str] = []
    for part in range(5):
        y = HIGH - 30 - part / 4 * (HIGH - 60)
        lines.append(f'<path d="M{MARGIN} {y}H{WIDE - MARGIN}" stroke="#ddd"/>')
        lines.append(
            f'<text x="{MARGIN - 6}" y="{y + 4}" text-anchor="end">{top * part / 4:g}</text>'
        )
        x = MARGIN + part / 4 * (WIDE - 2 * MARGIN)
        lines.append(f'<text x="{x}" y="{HIGH - 8}">{right * part / 4:.0f} s</text>')
    return "".join(lines)


def _round_up(value: float) -> float:
    step = 10 ** math.floor(math.log10(value))
    return next(step * times for times in (1, 2, 4, 5, 8, 10) if step * times >= value)


def _latency(seen: Seen) -> dict[str, Line]:
    slices: dict[int, list[float]] = {}
    for request in seen.diary.requests:
        if request.route == "send" and not request.refusable and math.isfinite(request.took):
            slices.setdefault(int(request.at // SLICE), []).append(1_000 * request.took)

    def line(share: float) -> Line:
        return [(SLICE * n, quantile(took, share)) for n, took in sorted(slices.items())]

    return {"p50": line(0.5), "p95": line(0.95), "longest": line(1.0)}


def _states(seen: Seen) -> dict[str, Line]:
    names = sorted({name for sample in seen.samples for name in sample.states})
    return {name: [(s.at, s.states.get(name, 0)) for s in seen.samples] for name in names}


def _memory(seen: Seen) -> dict[str, Line]:
    names = seen.memory[0].parts if seen.memory else ()
    lines: dict[str, Line] = {name: [(m.at, m.parts[name]) for m in seen.memory] for name in names}
    return lines | {"in all": [(m.at, sum(m.parts.values())) for m in seen.memory]}


def _cpu(seen: Seen) -> dict[str, Line]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for before, after in zip(seen.samples, seen.samples[1:], strict=False):
        for name in before.cpu:
            used = after.cpu.get(name, 0.0) - before.cpu[name]
            share = 100 * max(0.0, used) / (after.at - before.at)
            lines.setdefault(name, []).append((after.at, share))
    return dict(lines)


def _verdicts(figures: Figures) -> str:
    rows: list[str] = []
    for v in verdicts(figures):
        mark = "met" if v.holds else ("missed" if v.aim else "broken")
        kind = "yes" if v.holds else "no"
        cells = "".join(f"<td>{html.escape(c)}</td>" for c in (v.what, v.promised, v.measured))
        rows.append(f'<tr>{cells}<td class="{kind}">{mark}</td></tr>')
    head = "<tr><th>what</th><th>asked</th><th>measured</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _routes(figures: Figures) -> str:
    names = ("route", "requests", "success", "mean ms", "p50", "p95", "p99", "longest")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = ""
    for r in figures.routes:
        times = (r.mean, r.p50, r.p95, r.p99, r.longest)
        cells = (r.name, str(r.requests), f"{r.share:.3%}", *(f"{t:.1f}" for t in times))
        rows += f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return f"<table><tr>{head}</tr>{rows}</table>"
