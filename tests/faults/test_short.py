"""Every experiment for some seconds: a few strikes, one service for all of them.

What befalls several nodes is in tests/e2e/test_two_nodes.py in short, several brokers in
tests/contract/test_cluster.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.faults.cycles import cycle
from tests.faults.evidence import Ledger
from tests.faults.experiments import EXPERIMENTS, SHORT, VARIABLES, outage, play
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


@pytest.mark.parametrize("name", [name for name, each in EXPERIMENTS.items() if each.alone])
async def test_nothing_is_lost_doubled_or_untold_under(told: Told, name: str) -> None:
    result = await play(EXPERIMENTS[name], SEED, SHORT, told.site, told.ledger, print)

    fresh, told.found = result.findings.besides(told.found), result.findings
    assert result.strikes > 0
    assert result.accepted > 0
    assert fresh.clean, fresh.told()


async def test_what_came_while_the_service_was_down_is_there_once_and_in_order(told: Told) -> None:
    evidence = await outage(told.site, told.ledger, 120, print)

    findings = compare(evidence)
    fresh, told.found = findings.besides(told.found), findings
    assert fresh.clean, fresh.told()


async def test_a_session_that_is_stopped_and_started_leaves_nothing_behind(told: Told) -> None:
    session = next(iter(told.site.sessions))

    cycled = await cycle(told.site, session, 2, print, warm_up=1)

    assert cycled.left == []
