"""The faults of several machines: nodes, brokers and gateways beside each other."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import time
from pathlib import Path

import psutil
from nats.js.errors import Error as JetStreamError

from events import subjects
from tests.faults.log_reader import LogReader
from tests.faults.processes import Process, kill
from tests.faults.site import Site, answers
from tests.faults.strikes import Run, Struck, struck
from tests.faults.usage import tree


async def owner_replaced(run: Run, _number: int) -> Struck:
    """The node: frozen while another one takes over all sessions; then it goes on."""
    began, site, old = time.time(), run.site, run.site.parts["node"]
    was = old.environment["NODE"]
    new = "b" if was == "a" else "a"
    old.freeze()
    # It is another machine: the browsers there are gone, a copy of the profiles is here.
    gone = [process for browser in site.browsers(None) for process in tree(browser)]
    for process in gone:
        kill(process)
    # Until the last of them has ended, files still change under the copy.
    await asyncio.to_thread(psutil.wait_procs, gone, 5)
    await asyncio.to_thread(_copied, site.profiles(was), site.profiles(new))
    site.parts["node"] = node = site.node(new)
    node.start()
    await _claimed(site, new, began)
    await asyncio.sleep(run.rather_short(0, 3))
    old.thaw()
    # It hears that it owns nothing any more, while the other one is at work.
    await asyncio.sleep(run.rather_short(1, 5))
    old.kill()
    return struck("owner replaced", run.everybody, began)


async def node_lost(run: Run, number: int) -> Struck:
    """A machine: the node that has all sessions, kill -9; another one goes on with them."""
    old, new = _pair(run, number)
    old.kill()
    began = time.time()
    await _claimed(run.site, new.environment["NODE"], began)
    lost = struck("node lost", run.everybody, began)
    old.start()
    return dataclasses.replace(lost, machine_lost=True)


async def node_lost_with_leases(run: Run, number: int) -> Struck:
    """A node with all sessions, kill -9: ready elsewhere in lease TTL + 20 s, one device each."""
    old, new = _pair(run, number)
    old.kill()
    began = time.time()
    name, within = new.environment["NODE"], float(new.environment["LEASE_TTL"]) + START
    ready = await _ready_on(run.site, name, began, within + 60)
    unmet = [f"ready after {ready:.1f} s, promised within {within:.0f} s"] if ready > within else []
    for session, account in run.site.sessions.items():
        devices = len(await run.site.phone.devices(account))
        if devices != 1:
            unmet.append(f"{session}: {devices} devices at the phone, promised 1")
    lost = struck("node lost with leases", run.everybody, began)
    told = f"all {len(run.site.sessions)} ready {ready:.1f} s after the kill (line {within:.0f} s)"
    old.start()
    return dataclasses.replace(lost, machine_lost=True, told=told, unmet=tuple(unmet))


START = 20.0
"""Seconds that a takeover may last beyond the lease: starting all its browsers."""


async def node_drained(run: Run, number: int) -> Struck:
    """A node: drained by command or by SIGTERM in turn, and started anew."""
    began, (old, new) = time.time(), _pair(run, number)
    name = old.environment["NODE"]
    if number % 4 < 2:
        # Refused until the other one, which was away itself, says that it has room.
        await run.site.until(lambda: _drains(run.site, name), 30, f"{name} drains")
        await _claimed(run.site, new.environment["NODE"], began)
    await old.stop()
    await _claimed(run.site, new.environment["NODE"], began)
    old.start()
    return struck("node drained", run.everybody, began)


async def _drains(site: Site, node: str) -> bool:
    return (await site.http.post(f"/api/nodes/{node}/drain")).is_success


def _pair(run: Run, number: int) -> tuple[Process, Process]:
    """Tell which of two nodes has the sessions, and which has none: they take turns."""
    nodes = (run.site.parts["node"], run.site.parts["b"])
    return nodes if number % 2 == 0 else (nodes[1], nodes[0])


def _copied(was: Path, new: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(was, new, ignore=shutil.ignore_patterns("Singleton*", ".wa.*", "tmp"))


async def _claimed(site: Site, node: str, since: float) -> None:
    reader = LogReader(site)

    async def all_claimed() -> bool:
        claims = {
            event.session
            for event in await reader.more()
            if event.kind == "claimed" and event.node == node and event.at.timestamp() > since
        }
        return len(claims) >= len(site.sessions)

    try:
        await site.until(all_claimed, 60, f"{node} claims all sessions", 0.1)
    finally:
        await reader.close()


async def _ready_on(site: Site, node: str, since: float, seconds: float) -> float:
    """Wait until a node has all sessions ready; seconds from then by the log. Raises NotInTime."""
    reader = LogReader(site)

    async def all_ready() -> list[float]:
        first: dict[str, float] = {}
        for event in await reader.more():
            at = event.at.timestamp()
            if event.kind == "ready" and event.node == node and at > since:
                first.setdefault(event.session, at)
        return list(first.values()) if len(first) >= len(site.sessions) else []

    try:
        found = await site.until(all_ready, seconds, f"all sessions are ready on {node}", 0.1)
        return max(found) - since
    finally:
        await reader.close()


# --- the brokers --------------------------------------------------------------


async def leader_killed(run: Run, number: int) -> Struck:
    """Of three brokers the one that leads the log: kill -9; back after 0 to 5 s, and caught up."""
    began, leader = time.time(), await _leader(run.site)
    leader.kill()
    await asyncio.sleep(run.rather_short(0, 5))
    leader.start()
    # One of three at a time: with a second one away the log could not be written at all.
    await run.site.until(lambda: _caught_up(run.site), 60, "three copies of the log", 0.2)
    return struck("leader killed", run.everybody, began)


async def _leader(site: Site) -> Process:
    async def led() -> str:
        return (await _copies(site))[0]

    return site.parts[await site.until(led, 30, "the log has a leader")]


async def _caught_up(site: Site) -> bool:
    leader, current = await _copies(site)
    return bool(leader) and current == len(site.brokers)


async def _copies(site: Site) -> tuple[str, int]:
    """Ask who leads the log, and how many copies are as new as its."""
    client = await site.connect("node")
    try:
        held = (await client.jetstream(timeout=2).stream_info(subjects.EVENTS)).cluster
    except (JetStreamError, TimeoutError):
        return "", 0
    finally:
        await client.close()
    if held is None or held.leader is None:
        return "", 0
    return held.leader, 1 + sum(1 for each in held.replicas or () if each.current)


# --- everything in turn -------------------------------------------------------


async def rolled(run: Run, _number: int) -> Struck:
    """A rolling restart: two nodes, two gateways and the projector, each by SIGTERM, in turn."""
    began, site = time.time(), run.site
    old, new = site.parts["node"], site.parts["b"]
    for leaving, staying in ((old, new), (new, old)):
        since = time.time()
        await leaving.stop()
        await _claimed(site, staying.environment["NODE"], since)
        await site.again(leaving)
    for name, door in zip(("gateway", "gateway-b"), site.doors, strict=True):
        await site.parts[name].stop()
        site.parts[name].start()
        await site.until(lambda door=door: answers(door), 30, f"{name} answers")
    await site.parts["projections"].stop()
    site.parts["projections"].start()
    return struck("rolled", run.everybody, began)
