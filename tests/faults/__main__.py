"""`make faults`: all experiments on one machine; `EXPERIMENT=nodes`: on several; or by name."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.faults import machine, report
from tests.faults.experiments import EXPERIMENTS, GROUPS, LONG, SHORT, run
from tests.faults.mutants import MUTANTS
from tests.faults.result import Result

OUT = Path("build/faults.json")


def main() -> int:
    """Run; 1 if anything was lost, doubled or could not be told."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument(
        "--experiment",
        choices=[*GROUPS, *EXPERIMENTS],
        default="machine",
        metavar="NAME",
        help=", ".join([*GROUPS, *EXPERIMENTS]),
    )
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--short", action="store_true", help="as in `make test`")
    parser.add_argument("--strikes", type=int)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--mutant", choices=sorted(MUTANTS), default="")
    parser.add_argument("--keep", type=Path, help="folder for what the parts said")
    asked = parser.parse_args()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()
    results = asyncio.run(_all(asked))
    took = time.monotonic() - began
    print(f"\n{report.table(results)}\n\n{took / 60:.1f} minutes in all; {machine.told()}\n")
    report.write(results, OUT)
    for result in results:
        if not result.findings.clean:
            print(f"{result.experiment} (SEED={result.seed}) is not clean:")
            print(result.findings.told())
    return 0 if results and all(result.findings.clean for result in results) else 1


async def _all(asked: argparse.Namespace) -> list[Result]:
    scale = SHORT if asked.short else LONG
    given = {"strikes": asked.strikes, "sessions": asked.sessions}
    scale = dataclasses.replace(scale, **{name: n for name, n in given.items() if n})
    programs = {"projections": "tests.faults.mutants"} if asked.mutant else None
    seed = random.randrange(10_000) if asked.seed is None else asked.seed
    results: list[Result] = []
    for name in GROUPS.get(asked.experiment, (asked.experiment,)):
        experiment = EXPERIMENTS[name]
        began = time.monotonic()

        def say(line: str, name: str = name, began: float = began) -> None:
            print(f"{name:<12} {time.monotonic() - began:5.0f} s  {line}", flush=True)

        say(f"SEED={seed}: {experiment.about}")
        with tempfile.TemporaryDirectory(prefix=f"wa-{name}-") as folder:
            home = (asked.keep / name).absolute() if asked.keep else Path(folder)
            if asked.keep:
                shutil.rmtree(home, ignore_errors=True)
            result = await run(
                experiment, seed, scale, home, say, programs=programs, mutant=asked.mutant
            )
        say(f"done: {result.findings.told()}")
        say(f"answers: {dict(result.answers)}")
        for when, waited in result.waits.items():
            say(f"sends ({when}): {waited.told}")
        results.append(result)
    return results


if __name__ == "__main__":
    sys.exit(main())
