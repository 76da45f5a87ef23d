"""Every experiment for some seconds: a few strikes, one service for all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.faults.evidence import Ledger, Written
from tests.faults.experiments import EXPERIMENTS, SHORT, VARIABLES, play
from tests.faults.ledger import Findings, compare
from tests.faults.site import Site, a_site

pytestmark = [
    pytest.mark.services,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

SEED = 7


@dataclass
class Told:
    """What the experiments before left: messages, and what was found of them."""

    site: Site
    ledger: Ledger = field(default_factory=Ledger)
    found: Findings = field(default_factory=Findings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    """One service with linked sessions. Each experiment goes on where the last one ended."""
    home = tmp_path_factory.mktemp("faults")
    async with a_site(home, SHORT.sessions, **VARIABLES, **SHORT.variables) as site:
        yield Told(site)


@pytest.mark.parametrize("name", EXPERIMENTS)
async def test_nothing_is_lost_doubled_or_untold_under(told: Told, name: str) -> None:
    result = await play(EXPERIMENTS[name], SEED, SHORT, told.site, told.ledger, print)

    fresh, told.found = result.findings.besides(told.found), result.findings
    assert result.strikes > 0
    assert result.accepted > 0
    assert fresh.clean, fresh.told()


async def test_what_came_while_the_service_was_down_is_there_once_and_in_order(told: Told) -> None:
    site, session = told.site, next(iter(told.site.sessions))
    number, friends = site.sessions[session], [f"1777000000{chat}" for chat in range(5)]
    for name in ("gateway", "node", "projections", "redis", "nats"):
        site.parts[name].kill()
    for count in range(500):
        friend, text = friends[count % 5], f"down-{count}"
        held = await site.phone.incoming(number, friend, text)
        told.ledger.wrote(Written(held, session.dotted, friend, text))

    began = time.monotonic()
    for part in site.parts.values():
        part.start()

    assert await site.settled(told.ledger, 60, print)
    print(f"all there {time.monotonic() - began:.1f} s after the start")
    evidence = await site.evidence(told.ledger)
    fresh, told.found = compare(evidence).besides(told.found), compare(evidence)
    assert fresh.clean, fresh.told()
    shown = [entry.text for entry in evidence.history if entry.text.startswith("down-")]
    assert sorted(shown) == sorted(f"down-{count}" for count in range(500))
