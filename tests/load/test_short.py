"""`make load` for some seconds: two users, so that the whole way to the report is walked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from tests.load import report
from tests.load.figures import Figures, figures
from tests.load.plan import Plan
from tests.load.promise import kept, verdicts
from tests.load.run import Seen, run

pytestmark = [
    pytest.mark.services,
    pytest.mark.browser,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PLAN = Plan(
    users=2, duration=3, rate=40, looks=20, bursts=1, churn=0, kills=0, idle=0, restart=False
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One run."""
    return await run(PLAN, tmp_path_factory.mktemp("load"), print)


async def test_every_user_is_linked_and_nothing_is_lost_or_doubled(seen: Seen) -> None:
    found = figures(seen)

    assert found.linked == 2
    assert seen.findings.clean, seen.findings.told()
    assert found.route("send").requests > 0
    assert found.route("receive").succeeded > 0
    assert found.success == 1.0, found.failures
    assert seen.left == []


async def test_who_exceeds_the_quota_is_refused_and_counted_apart(seen: Seen) -> None:
    found = figures(seen)

    assert found.refused > 0
    assert found.limited == 1


async def test_the_report_is_written_for_people_and_for_machines(
    seen: Seen, tmp_path: Path
) -> None:
    found = figures(seen)

    with (tmp_path / "told").open("w") as told:
        report.show(found, "a machine", Console(file=told, width=120))
    report.write(seen, found, "a machine", tmp_path)

    assert "messages lost or doubled" in (tmp_path / "told").read_text()
    assert json.loads((tmp_path / "load.json").read_text())["figures"]["linked"] == 2
    page = (tmp_path / "load.html").read_text()
    assert page.count("<svg") == 5
    assert "http" not in page


async def test_one_lost_message_breaks_the_promise(seen: Seen) -> None:
    found = figures(seen)

    lossy = dataclasses.replace(found, lost=1)

    # How fast it was is the machine's: what it broke besides is no matter here.
    assert not kept(lossy)
    assert _broken(lossy) - _broken(found) == {"messages lost or doubled"}


def _broken(found: Figures) -> set[str]:
    return {verdict.what for verdict in verdicts(found) if not verdict.holds}
