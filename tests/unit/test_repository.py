"""The rules of the repository itself: who imports whom, who takes the time, what is locked."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.settings import Settings

ROOT = Path(__file__).resolve().parents[2]

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".npmrc",
    "Makefile",
    "README.md",
    "actors",
    "deploy",
    "events",
    "gateway",
    "nats.conf",
    "package-lock.json",
    "package.json",
    "projections",
    "pyproject.toml",
    "requirements-dev.lock",
    "requirements-node.lock",
    "requirements.lock",
    "tests",
}

MAY_IMPORT = {
    "events": set[str](),
    "actors": {"events"},
    "projections": {"events"},
    "gateway": {"events", "projections"},
}
OURS = {*MAY_IMPORT, "tests", "deploy"}

READ_SIDE = {"read", "retelling", "timeline", "views"}
# `wa rebuild` runs a rebuild itself: it works where no projector does.
COMMAND_LINE = READ_SIDE | {"rebuild", "models"}
"""What the gateway may import of the projections: asking, and the answers."""

CLOCK = Path("events/clock.py")
TIME_OF_DAY = {
    *("time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.ctime"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.strftime"),
}
WAITING = {"time.sleep"}
STOPWATCHES = {"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"}


def tracked(*patterns: str) -> list[Path]:
    """List the files that git knows and that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


def product() -> list[Path]:
    """List the modules of the product."""
    return [path for path in tracked("*.py") if path.parts[0] in MAY_IMPORT]


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Give the full name of everything a module imports, wherever in it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses(path: Path) -> Iterator[tuple[int, str]]:
    """Give line and name of everything used, as written but for what `time` was asked for."""
    tree = parsed(path)
    alone = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            written = ast.unparse(node)
            # `datetime.datetime.now` and `datetime.now` are the same clock.
            yield node.lineno, alone.get(written, ".".join(written.split(".")[-2:]))


# Who imports whom


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_part_imports_only_what_it_may(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | {folder}
    strangers = [
        f"{path} imports {name}"
        for path in product()
        if path.parts[0] == folder
        for name in imports(path)
        if name.split(".")[0] in OURS - allowed
    ]

    assert strangers == []


def test_the_gateway_imports_the_read_side_of_the_projections_only() -> None:
    strangers = [
        f"{path} imports {name}"
        for path in product()
        if path.parts[0] == "gateway"
        for name in imports(path)
        if name.startswith("projections.")
        and name.split(".")[1] not in (COMMAND_LINE if "cli" in path.parts else READ_SIDE)
    ]

    assert strangers == []


def test_pyppeteer_is_at_home_in_the_browser_only() -> None:
    strangers = [
        str(path)
        for path in product()
        if path.parent != Path("actors/browser")
        and any(name.split(".")[0] == "pyppeteer" for name in imports(path))
    ]

    assert strangers == []


def test_the_import_linter_keeps_the_same_rules() -> None:
    held = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    forbidden = {
        (source, target)
        for contract in held["contracts"]
        for source in contract["source_modules"]
        for target in contract["forbidden_modules"]
    }

    assert set(held["root_packages"]) == set(MAY_IMPORT)
    for folder, allowed in MAY_IMPORT.items():
        for other in set(MAY_IMPORT) - allowed - {folder}:
            assert (folder, other) in forbidden


def test_set_up_needs_nothing_but_python() -> None:
    needed = {name.split(".")[0] for path in tracked("deploy/*.py") for name in imports(path)}

    assert needed <= {*sys.stdlib_module_names, "__future__"}


# Who takes the time


def test_only_the_clock_takes_the_time() -> None:
    taken = [
        f"{path}:{line} {name}"
        for path in product()
        if path != CLOCK
        for line, name in uses(path)
        if name in TIME_OF_DAY | WAITING
    ]

    assert taken == []


def test_actors_and_rules_have_no_stopwatch_of_their_own() -> None:
    """What decides by durations must be testable with a clock that stands still."""
    taken = [
        f"{path}:{line} {name}"
        for path in product()
        if path.parts[0] in {"actors", "events"} and path != CLOCK
        for line, name in uses(path)
        if name in STOPWATCHES
    ]

    assert taken == []


# What is in the tree


def test_the_top_level_is_fixed() -> None:
    assert {path.parts[0] for path in tracked()} == TOP_LEVEL


def test_no_file_names_a_path_of_one_machine() -> None:
    one_machine = re.compile(r"(?<![\w.~-])/(?:work|farm|root|home/\w+|Users/\w+)/\w")
    named = [f"{path}: {found.group()}" for path, found in found_in_text(one_machine)]

    assert named == []


def test_no_file_names_a_package_index() -> None:
    index = re.compile(
        r"pypi\.org|pythonhosted|npmjs\.(?:org|com)/[^ ]*\.tgz|registry\.npm|"
        r"--(?:extra-)?index-url|--find-links|^registry ?=",
        re.MULTILINE,
    )
    named = [
        f"{path}: {found.group()}"
        for path, found in found_in_text(index)
        if path != Path("tests/unit/test_repository.py")
    ]

    assert named == []


def found_in_text(pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in tracked():
        raw = (ROOT / path).read_bytes()
        if b"\0" not in raw and (found := pattern.search(raw.decode(errors="replace"))):
            yield path, found


def test_nothing_that_is_made_is_kept() -> None:
    made = re.compile(r"(^|/)(__pycache__|node_modules|\.venv|data|build)(/|$)|\.pyc$|\.egg-info")

    assert [str(path) for path in tracked() if made.search(str(path))] == []


# What is locked


def pins(lock: str) -> dict[str, list[str]]:
    """Read name==version and the hashes of each package of a lock."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        if line.startswith(" "):
            assert line.strip().startswith("--hash=sha256:"), f"{lock}: {line}"
            found[name].append(line.strip())
        else:
            name = line.split(" ")[0]
            assert re.fullmatch(r"[a-z0-9._-]+==[A-Za-z0-9.+!]+", name), f"{lock}: {line}"
            found[name] = []
    return found


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-dev.lock", "requirements-node.lock"]
)
def test_every_python_package_is_pinned_by_hash(lock: str) -> None:
    held = pins(lock)

    assert held
    assert [name for name, hashes in held.items() if not hashes] == []


def test_what_tests_run_on_is_what_is_shipped() -> None:
    """Set-up takes an environment made for tests as good for running, and so it must be."""
    assert set(pins("requirements.lock")) <= set(pins("requirements-dev.lock"))


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for lock, wanted in (
        ("requirements.lock", [*project["dependencies"], *extras["sandbox"]]),
        ("requirements-dev.lock", extras["dev"]),
    ):
        locked = {pin.split("==")[0] for pin in pins(lock)}
        asked = {re.split(r"[\[<>=!~; ]", name)[0].lower() for name in wanted}

        assert asked - locked == set(), lock


def test_every_javascript_package_is_pinned_by_hash() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    asked = json.loads((ROOT / "package.json").read_text())

    assert [n for n, held in packages.items() if n and "integrity" not in held] == []
    assert [n for n, held in packages.items() if "resolved" in held] == []
    for version in {**asked["dependencies"], **asked["devDependencies"]}.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), "say the version, not a range"


# What is documented, and what it says can be typed


def test_every_setting_stands_in_the_table_of_the_readme() -> None:
    rows = set(
        re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    )
    variables = {name.upper() for name in Settings.model_fields}

    assert variables - rows == set(), "not documented"
    assert rows - variables == set(), "documented, and not there"


def test_the_table_of_the_readme_tells_the_defaults() -> None:
    text = (ROOT / "README.md").read_text()
    told = dict(re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \| `?([^|`]*)`? \|", text, re.MULTILINE))
    numbers = {
        name.upper(): field.default
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    }

    assert {name: float(told[name].replace(",", "")) for name in numbers} == numbers


def test_every_target_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()))

    assert named - targets == set()


@pytest.mark.parametrize(
    "target", ["help", "demo", "up", "test", "faults", "soak", "cycles", "figures", "load", "bench"]
)
def test_a_dry_run_of_a_target_does_nothing(target: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())

    done = subprocess.run(
        ["make", "-n", target], cwd=tmp_path, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_ci_runs_what_developers_run() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
