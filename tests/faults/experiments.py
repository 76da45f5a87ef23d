"""The experiments: one continuous run each, in which a fault strikes at random instants."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import machines as m
from tests.faults import strikes as s
from tests.faults.evidence import Answer, Evidence, Ledger, Written
from tests.faults.ledger import compare, gone_along
from tests.faults.load import Load, Rates
from tests.faults.result import Result, meanwhile, quantiles, recoveries
from tests.faults.site import NotInTime, Site, a_site
from tests.simulator.phone import PhoneError

Say = Callable[[str], None]

UNHURT = re.compile("20[02]|503")
"""What a client may hear where no request fails: that it was taken, or to come again."""

MISSES = 20
"""Times that a strike may find nothing to hit."""

VARIABLES = {
    # Load is the experiment's, not the quotas'.
    "SENDS_PER_MINUTE": "0",
    "SENDS_PER_SECOND": "0",
    "SESSIONS_PER_MINUTE": "0",
    "SESSIONS_PER_SECOND": "0",
    "QR_PER_5_MINUTES": "0",
    "QR_PER_SECOND": "0",
    "NEW_CHATS_PER_DAY": "0",
    "MAX_SESSIONS_PER_USER": "50",
    # What is compared must not move: a snapshot of a profile is an event of its session, and
    # after the first one of a link there are no others.
    "VAULT_AFTER": "86400",
    "LEASE_TTL": "3",
    # A client that gets its 202 soon goes on, and the queue is what is struck.
    "SEND_WAIT": "1",
    # Twenty strikes are twenty failures in a row unless success is believed sooner.
    "BACKOFF_QUIET": "5",
    "SUSPEND_TIME": "5",
    "LOG_JSON": "true",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a run is. `longest` shortens faults that last; `pause` is between strikes."""

    sessions: int
    strikes: int
    rates: Rates
    longest: float = 1.0
    pause: tuple[float, float] = (0.2, 2.5)
    deadline: float = 90.0
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


LONG = Scale(sessions=10, strikes=20, rates=Rates(sends=20, incoming=5, chats=4))
SHORT = Scale(
    sessions=2,
    strikes=2,
    rates=Rates(sends=12, incoming=4),
    longest=0.1,
    pause=(0.2, 1.0),
    deadline=30,
    variables={"PROBE_INTERVAL": "1", "PROBE_TIMEOUT": "2"},
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A fault and how it is dealt out; `letter` is the issue's."""

    name: str
    letter: str
    strike: s.Strike
    kinds: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    most_sessions: int = 100
    nodes: int = 1
    """Nodes beside each other; where there are several, each strike needs what is in the vault."""

    brokers: int = 1
    gateways: int = 1
    failures: bool = True
    """Whether clients may see a request fail otherwise than by a 503, which they ask again."""

    most_strikes: int = 100
    recovered: bool = False
    """Whether every session has sent again before each strike: a machine that is lost while it
    catches up has messages that WhatsApp sends to nobody a second time."""

    @property
    def alone(self) -> bool:
        """Whether there is one of each part, as on one machine."""
        return self.nodes == self.brokers == self.gateways == 1

    @property
    def about(self) -> str:
        """One line about it."""
        return (self.strike.__doc__ or "").strip()


EXPERIMENTS = {
    each.name: each
    for each in (
        Experiment("nats-kill", "a", s.nats_killed),
        Experiment("nats-freeze", "b", s.nats_frozen),
        Experiment("node-points", "c", s.node_at_point),
        Experiment("node-kill", "c", s.node_killed),
        Experiment("everything", "c", s.everything_killed),
        # The other machine has a copy of the profiles as they were left, so nothing is to be
        # missing; out of the vault they would be older.
        Experiment(
            "owner",
            "c",
            m.owner_replaced,
            most_sessions=4,
            most_strikes=10,
            variables={"VAULT_MAX_MB": "0"},
        ),
        # Apart: after a flush everything is read anew, and what a cut took is mended by that.
        Experiment("redis-kill", "d", s.redis_killed, ("killed", "power cut")),
        Experiment("redis-flush", "d", s.redis_flushed),
        Experiment(
            "browser", "e", s.browser_struck, ("killed", "frozen", "page crashed", "all killed")
        ),
        Experiment(
            "whatsapp",
            "f",
            s.whatsapp_struck,
            ("dropped", "conflict", "slow", "all dropped", "hung", "late modules"),
        ),
        Experiment("unlink", "f", s.unlinked, variables={"SEND_DEADLINE": "5"}),
        Experiment("node-lost", "g", m.node_lost, nodes=2, recovered=True),
        Experiment("drain", "g", m.node_drained, nodes=2, failures=False),
        # Its lease is the one that nodes have outside of experiments: it lasts.
        Experiment(
            "nodes-loaded",
            "g",
            m.node_lost_with_leases,
            variables={"LEASE_TTL": "15"},
            nodes=2,
            most_strikes=1,
        ),
        Experiment(
            "leader",
            "g",
            m.leader_killed,
            variables={"REPLICAS": "3"},
            brokers=3,
            most_strikes=10,
        ),
        Experiment("rolling", "g", m.rolled, nodes=2, gateways=2, most_strikes=2),
    )
}
GROUPS = {
    "machine": tuple(name for name, each in EXPERIMENTS.items() if each.alone),
    "nodes": tuple(name for name, each in EXPERIMENTS.items() if not each.alone),
}
"""Experiments that are asked for together: those on one machine, and those on several."""


async def run(
    experiment: Experiment,
    seed: int,
    scale: Scale,
    home: Path,
    say: Say,
    *,
    programs: Mapping[str, str] | None = None,
    mutant: str = "",
) -> Result:
    """Run one experiment from nothing to the comparison. Raises NotInTime."""
    began = time.monotonic()
    sessions = min(scale.sessions, experiment.most_sessions)
    variables = {**VARIABLES, **scale.variables, **experiment.variables, "FAULTS_MUTANT": mutant}
    if experiment.nodes > 1:
        variables["VAULT_AFTER"] = "1"
    brokers = experiment.brokers
    async with a_site(home, sessions, programs or {}, brokers=brokers, **variables) as site:
        if variables.get("VAULT_MAX_MB") != "0":
            await site.until_saved()
        say(f"{sessions} sessions linked after {time.monotonic() - began:.0f} s")
        if experiment.nodes > 1:
            await site.begin("b")
        if experiment.gateways > 1:
            await site.another_gateway()
        result = await play(experiment, seed, scale, site, Ledger(), say)
    return dataclasses.replace(result, took=time.monotonic() - began)


async def play(
    experiment: Experiment, seed: int, scale: Scale, site: Site, ledger: Ledger, say: Say
) -> Result:
    """Strike a site under load, and compare. The ledger may tell of earlier experiments there."""
    began = time.monotonic()
    dice = random.Random(f"{seed} {experiment.name}")
    load = Load(site, scale.rates, dice, ledger, name=f"{experiment.name}-{seed}")
    strikes = min(scale.strikes, experiment.most_strikes)
    kinds = list(itertools.islice(itertools.cycle(experiment.kinds), strikes))
    dice.shuffle(kinds)
    running = s.Run(site, load, dice, scale.longest, kinds)
    struck: list[s.Struck] = []
    given_up = ""
    load.begin()
    try:
        await load.flows(running.everybody, 0, 20)
        for number in range(strikes):
            await asyncio.sleep(dice.uniform(*scale.pause))
            try:
                hit = await _strike(experiment, running, number, say)
            except NotInTime as late:
                # It does not come back: what there is by now is the evidence.
                given_up, _, said = str(late).partition("\n")
                say(f"gave up: {given_up}\n{said}")
                break
            struck.append(hit)
            if hit.machine_lost:
                ledger.gone.append(hit.began)
            if hit.told:
                say(hit.told)
            # Most strikes fall into the recovery from the one before; some must not, or
            # nobody could tell how long it takes.
            whole = experiment.recovered or number % 4 == 3
            awaited = hit.sessions if whole else running.everybody
            back = await load.flows(awaited, time.monotonic(), 40, every=whole)
            say(
                f"strike {len(struck)}/{strikes} {hit.kind}: "
                f"{ledger.count(Answer.ACCEPTED)} accepted, "
                f"{ledger.count(Answer.UNKNOWN)} unknown, {len(ledger.written)} written"
                + ("" if back else "; nothing was sent for 40 s")
            )
    finally:
        loaded = time.monotonic() - began
        await load.finish(3 if given_up else scale.deadline)
    say("no more is sent; waiting until everything has ended")
    await site.settled(ledger, 3 if given_up else scale.deadline, say)
    evidence = await site.evidence(ledger)
    restored = sum(1 for _ in evidence.events("profile_restored"))
    if restored and experiment.nodes == 1:
        # Nothing is lost by it, but a browser that was killed should find its link again.
        say(f"{restored} profiles came back from the vault")
    took = time.monotonic() - began
    result = _result(experiment, seed, struck, load, evidence, loaded, took)
    for hit in struck:
        result.findings.unsettled.extend(hit.unmet)
    if not experiment.failures:
        failed = {word: n for word, n in load.words.items() if not UNHURT.match(word)}
        result.findings.unsettled.extend(f"answered {n} times: {w}" for w, n in failed.items())
    if given_up:
        result.findings.unsettled.append(given_up)
    return result


async def _strike(experiment: Experiment, running: s.Run, number: int, say: Say) -> s.Struck:
    """Strike until it hits. Raises NotInTime."""
    for _ in range(MISSES):
        try:
            return await experiment.strike(running, number)
        except PhoneError as error:
            # Its page is away because of a strike before; another one's is there.
            say(f"strike {number + 1} missed: {error.reason}")
            await asyncio.sleep(1)
    raise NotInTime(f"{experiment.name}: no strike hits in {MISSES} times")


async def outage(site: Site, ledger: Ledger, count: int, say: Say) -> Evidence:
    """Kill everything, let friends write so many messages in two chats, start it again."""
    session, number = next(iter(site.sessions.items()))
    for part in site.parts.values():
        part.kill()

    async def write(friend: str) -> None:
        for place in range(count // 2):
            text = f"down-{friend}-{place}"
            held = await site.phone.incoming(number, friend, text)
            ledger.wrote(Written(held, session.dotted, friend, text))

    await asyncio.gather(write("17770000001"), write("17770000002"))
    began = time.monotonic()
    for part in site.parts.values():
        part.start()
    await site.settled(ledger, 60, say)
    say(f"{count} messages recorded, and nothing moves, {time.monotonic() - began:.1f} s later")
    return await site.evidence(ledger)


def _result(
    experiment: Experiment,
    seed: int,
    struck: list[s.Struck],
    load: Load,
    evidence: Evidence,
    loaded: float,
    took: float,
) -> Result:
    received = Counter(event.kind for event in evidence.log)["received"]
    return Result(
        experiment=experiment.name,
        letter=experiment.letter,
        seed=seed,
        strikes=len(struck),
        sessions=len(load.site.sessions),
        accepted=load.ledger.count(Answer.ACCEPTED),
        rate=load.ledger.count(Answer.ACCEPTED) / loaded,
        refused=load.ledger.count(Answer.REFUSED),
        received=received,
        findings=compare(evidence),
        gone_along=gone_along(evidence),
        took=took,
        recovery=recoveries(struck, evidence),
        answers=dict(load.words.most_common()),
        repeats=sum(message.repeats for message in evidence.phone),
        events=len(evidence.log),
        waits={"all": quantiles(load.waits), "struck": quantiles(meanwhile(load.waits, struck))},
    )
