"""Every experiment at full length, and that each would fail without the protection it is about."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.faults.evidence import Ledger
from tests.faults.experiments import EXPERIMENTS, LONG, SHORT, VARIABLES, outage, run
from tests.faults.ledger import compare
from tests.faults.mutants import CAUGHT_BY, MUTANTS
from tests.faults.site import a_site

pytestmark = [
    pytest.mark.services,
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(1_200),
]

SEED = 1


@pytest.mark.parametrize("name", EXPERIMENTS)
async def test_nothing_is_lost_doubled_or_untold_in_a_long_run_of(
    tmp_path: Path, name: str
) -> None:
    result = await run(EXPERIMENTS[name], SEED, LONG, tmp_path, print)

    assert result.findings.clean, result.findings.told()


async def test_500_messages_that_came_while_the_service_was_down_are_there(tmp_path: Path) -> None:
    async with a_site(tmp_path, 1, **VARIABLES) as site:
        evidence = await outage(site, Ledger(), 500, print)

    findings = compare(evidence)
    assert findings.clean, findings.told()
    assert len(evidence.history) == 500


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_protection_that_is_taken_away_is_missed(tmp_path: Path, mutant: str) -> None:
    caught = CAUGHT_BY[mutant]
    scale = dataclasses.replace(SHORT, strikes=caught.strikes)
    programs = {"projections": "tests.faults.mutants"}

    result = await run(
        EXPERIMENTS[caught.experiment],
        SEED,
        scale,
        tmp_path,
        print,
        programs=programs,
        mutant=mutant,
    )

    print(result.findings.told())
    assert result.findings.lists()[caught.finds], result.findings.told()
