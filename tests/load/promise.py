"""What was promised of a run, and whether it held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.load.figures import Figures

FEW = 50
"""Below so many users shares of users are shown and not judged."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of what was promised. `holds` decides; an aim that is missed is only said."""

    what: str
    promised: str
    measured: str
    holds: bool
    aim: bool = False


def verdicts(f: Figures) -> list[Verdict]:
    """Hold a run against the promises, and against the aims, which go well past them."""
    return [*_promises(f), *_aims(f)]


def kept(f: Figures) -> bool:
    """Tell whether every promise held."""
    return all(verdict.holds for verdict in _promises(f))


def _promises(f: Figures) -> Iterator[Verdict]:
    send = f.route("send")
    limited, breakers = f.limited / f.users, f.breakers / max(1, f.requests)
    yield Verdict(
        "sessions linked and ready", f"{f.users}", f"{f.linked} of {f.users}", f.linked == f.users
    )
    yield Verdict("success", "over 95 %", f"{f.success:.3%} of {f.requests}", f.success > 0.95)
    yield Verdict("send, mean", "under 1,000 ms", f"{send.mean:.1f} ms", send.mean < 1_000)
    under = "under 5 % of requests"
    yield Verdict("breaker activations", under, f"{breakers:.2%}", breakers < 0.05)
    # One greedy user of ten, or one killed browser of ten, says nothing of a hundred.
    few = f.users < FEW
    if_many = f" (of {FEW} users and more)" if few else ""
    yield Verdict("users limited", f"under 10 %{if_many}", f"{limited:.1%}", few or limited < 0.1)
    yield Verdict("uptime", f"99.9 %{if_many}", f"{f.uptime:.3%}", few or f.uptime >= 0.999)
    clean = f.lost + f.doubled + f.others == 0
    found = f"{f.lost} lost, {f.doubled} doubled, {f.others} others"
    yield Verdict("messages lost or doubled", "0", found, clean)
    yield Verdict("processes left behind", "0", str(f.left), f.left == 0)


def _aims(f: Figures) -> Iterator[Verdict]:
    send, crowd = f.route("send"), f.users > 100
    start, room, mean = (300.0, 18_000.0, 200.0) if crowd else (100.0, 6_000.0, 100.0)

    def aim(what: str, promised: str, measured: str, holds: bool) -> Verdict:
        return Verdict(what, promised, measured, holds, aim=True)

    yield aim("success", "at least 99.9 %", f"{f.success:.3%}", f.success >= 0.999)
    yield aim("send, mean", f"under {mean:.0f} ms", f"{send.mean:.1f} ms", send.mean < mean)
    yield aim("send, p99", "under 1,000 ms", f"{send.p99:.0f} ms", send.p99 < 1_000)
    yield aim(
        "all ready from a cold start",
        f"within {start:.0f} s",
        f"{f.cold_start:.1f} s",
        f.cold_start <= start,
    )
    if f.restored is not None and not crowd:
        restored = f"{f.restored:.1f} s"
        yield aim("all ready after a restart", "within 90 s", restored, f.restored <= 90)
    total = f"{f.pss_total / 1_000:.2f} GB"
    yield aim("PSS in all", f"under {room / 1_000:.0f} GB", total, 0 < f.pss_total < room)
    if f.idle:
        ours = f"{f.idle_ours:.1%} of a core"
        yield aim("our processes, all silent", "under 15 % of a core", ours, f.idle_ours < 0.15)
