"""The figures of a run, computed from what was seen. Pure.

What each is a share of stands beside it: a figure without its denominator says nothing.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.evidence import Logged
from tests.load.diary import Diary, Outage, Request
from tests.load.meters import OURS
from tests.load.run import Seen

IN_TIME = 30.0
"""Seconds within which an accepted send must be `sent` to count as a success."""

BREAKERS = frozenset({"suspended", "operations_paused"})

DEFINED = {
    "success": "requests that ended well, of all that were not meant to exceed a quota. A send "
    f"ends well when it is `sent` on the log within {IN_TIME:.0f} s of being asked for; 202 alone "
    "is no success. Requests to a session whose browser was killed count.",
    "latency": "from the request to its outcome: of a 200 the answer, of a 202 `sent` on the log. "
    "Requests to a session while its browser is away are in `send, struck` instead.",
    "receive": "from a friend beginning to write to the message on the live feed.",
    "breakers": "sessions suspended and calls into pages refused, of all requests.",
    "limited": "users who were answered 429 at least once, of all users.",
    "uptime": "time in which sessions were ready, of the time of the load times the users; a "
    "killed browser is downtime until its session is ready again.",
    "CPU": "seconds of CPU a second, in percent of one core.",
    "lag": "from the time an event bears to its arrival at a reader of the live feed.",
}
"""What each figure means."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route, in milliseconds."""

    name: str
    requests: int
    succeeded: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float

    @property
    def share(self) -> float:
        """Of the requests, those that succeeded."""
        return self.succeeded / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """All of a run. Times in seconds but for those of routes; memory in MB; shares of 1."""

    users: int
    linked: int
    cold_start: float
    restored: float | None
    routes: Sequence[Route]
    requests: int
    success: float
    accepted: int
    """Sends that were answered 202 and not at once with their outcome."""

    failures: Mapping[str, int]
    """Requests that did not end well, by route and status (0: no answer)."""

    refused: int
    """Requests that exceeded a quota on purpose, and were answered 429."""

    breakers: int
    limited: int
    uptime: float
    outages: Sequence[float]
    cycled: int
    messages_a_second: float
    cpu: Mapping[str, float]
    idle: Mapping[str, float]
    pss: Mapping[str, float]
    pss_total: float
    pss_a_session: float
    lag_p50: float
    lag_p99: float
    behind: int
    """Most events that a projection had not applied at a sample."""

    lost: int
    doubled: int
    others: int
    """Other findings of the ledger: phantom, stale, unsettled."""

    left: int
    """Processes that were there after the end."""

    troubles: Sequence[str]

    def route(self, name: str) -> Route:
        """Return one route's figures. Raises StopIteration."""
        return next(each for each in self.routes if each.name == name)

    @property
    def idle_ours(self) -> float:
        """Share of a core that our own processes use while all sessions are silent."""
        return sum(self.idle.get(name, 0.0) for name in OURS)


def figures(seen: Seen) -> Figures:
    """Compute everything."""
    requests = outcomes(seen)
    judged = [r for r in requests if not r.refusable]
    well = [r for r in judged if succeeded(r)]
    kinds = [event.kind for event in seen.log]
    lags = [lag for _, lag in seen.diary.lags]
    memory = max(seen.memory, key=lambda m: sum(m.parts.values()), default=None)
    pss = dict(memory.parts) if memory else {}
    findings = seen.findings.lists()
    browsers = memory.browsers if memory else 0
    return Figures(
        users=seen.plan.users,
        linked=seen.plan.users - len(seen.missing),
        cold_start=seen.linked,
        restored=seen.restored,
        routes=[*routes(seen.diary, requests)],
        requests=len(judged),
        success=len(well) / len(judged) if judged else 1.0,
        accepted=sum(r.route == "send" and r.status == 202 for r in requests),
        failures=dict(Counter(f"{r.route} {r.status}" for r in judged if not succeeded(r))),
        refused=sum(r.refusable and r.status == 429 for r in requests),
        breakers=sum(kind in BREAKERS for kind in kinds),
        limited=len({r.session for r in requests if r.status == 429}),
        uptime=uptime(seen),
        outages=[o.until - o.at for o in seen.diary.outages],
        cycled=seen.diary.cycled,
        messages_a_second=_messages(seen) / seen.took if seen.took else 0.0,
        cpu=seen.busy,
        idle=seen.idle,
        pss=pss,
        pss_total=sum(pss.values()),
        pss_a_session=pss.get("browsers", 0.0) / browsers if browsers else 0.0,
        lag_p50=quantile(lags, 0.5),
        lag_p99=quantile(lags, 0.99),
        behind=max((s.behind for s in seen.samples), default=0),
        lost=len(findings["lost"]),
        doubled=len(findings["doubled"]),
        others=sum(len(f) for name, f in findings.items() if name not in {"lost", "doubled"}),
        left=len(seen.left),
        troubles=seen.diary.troubles,
    )


def outcomes(seen: Seen) -> list[Request]:
    """Let each accepted send run to its outcome; one that has none took for ever."""
    sent = sent_at(seen.log)
    for request in seen.diary.requests:
        if request.route == "send" and request.status == 202 and request.key in sent:
            request.took = sent[request.key] - seen.began - request.at
        elif request.route == "send" and request.status == 202:
            request.took = math.inf
    return seen.diary.requests


def sent_at(log: Iterable[Logged]) -> dict[str, float]:
    """Read when each text was sent: its time of day on the log."""
    texts: dict[str, str] = {}
    found: dict[str, float] = {}
    for event in log:
        if event.kind == "sending":
            texts[event.data["message"]] = event.data["body"]
        elif event.kind == "sent" and event.data["message"] in texts:
            found[texts[event.data["message"]]] = event.at.timestamp()
    return found


def succeeded(request: Request) -> bool:
    """Tell whether a request ended well, and in time."""
    return 200 <= request.status < 300 and request.took <= IN_TIME


def struck(request: Request, outages: Iterable[Outage]) -> bool:
    """Tell whether a request met a session whose browser was away."""
    return any(
        request.session == outage.session
        and request.at <= outage.until
        and request.at + request.took >= outage.at
        for outage in outages
    )


def routes(diary: Diary, requests: Iterable[Request]) -> Iterable[Route]:
    """Sum up each route, the messages that came, and apart from them what was struck."""
    parted: dict[str, list[Request]] = {}
    for request in requests:
        if not request.refusable:
            hit = request.route == "send" and struck(request, diary.outages)
            parted.setdefault("send, struck" if hit else request.route, []).append(request)
    order = ("send", "send, struck", "status", "history", "create", "delete")
    for name in order:
        if there := parted.get(name):
            yield _route(name, [r.took for r in there], sum(map(succeeded, there)))
    heard = [h.took for h in diary.heard]
    yield _route("receive", heard, len(heard), of=len(diary.ledger.written))


def _route(name: str, took: Sequence[float], well: int, of: int | None = None) -> Route:
    ended = [1_000 * t for t in took if math.isfinite(t)]
    return Route(
        name=name,
        requests=len(took) if of is None else of,
        succeeded=well,
        mean=statistics.fmean(ended) if ended else 0.0,
        p50=quantile(ended, 0.5),
        p95=quantile(ended, 0.95),
        p99=quantile(ended, 0.99),
        longest=max(ended, default=0.0),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that this share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def uptime(seen: Seen) -> float:
    """Return the share of the users' time in which their sessions were ready, by the log."""
    end = seen.began + seen.took
    whole = seen.took * seen.plan.users
    names = {seen.plan.session(number).dotted for number in range(seen.plan.users)}
    down = 0.0
    since: dict[str, float] = dict.fromkeys(names, seen.began)
    for event in seen.log:
        if event.session not in names or event.family != "session":
            continue
        at = event.at.timestamp()
        if event.kind == "ready" and event.session in since:
            down += max(0.0, min(at, end) - max(since.pop(event.session), seen.began))
        elif event.kind in {"crashed", "offline"}:
            since.setdefault(event.session, at)
    down += sum(max(0.0, end - max(at, seen.began)) for at in since.values() if at < end)
    return 1 - down / whole if whole else 1.0


def _messages(seen: Seen) -> int:
    sends = sum(r.route == "send" and 200 <= r.status < 300 for r in seen.diary.requests)
    return sends + len(seen.diary.heard)
