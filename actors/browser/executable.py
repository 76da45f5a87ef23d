"""Which Chromium binary to run, and the command line it gets."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from functools import cache
from pathlib import Path

from actors.browser.options import BrowserOptions
from actors.browser.protocol import NoBrowser

VARIABLE = "PUPPETEER_EXECUTABLE_PATH"
HEADLESS_SHELL = "chromium-headless-shell"
DEBIAN = Path("/usr/lib/chromium")
_DEBIAN_NAMES = (HEADLESS_SHELL, "chromium")
_PATH_NAMES = (
    HEADLESS_SHELL,
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
)


def find_executable(configured: Path | None, debian: Path = DEBIAN) -> Path:
    """Return the binary to start; a path that was asked for is never replaced by another.

    headless-shell first: it takes a third of the memory of the full browser.
    Raises NoBrowser, which says what to do about it.
    """
    if configured is not None:
        return _configured(configured, debian)
    for name in _DEBIAN_NAMES:
        if _runnable(debian / name):
            return debian / name
    for name in _PATH_NAMES:
        if found := shutil.which(name):
            return _unwrapped(Path(found), debian)
    raise NoBrowser(
        "no Chromium was found: install chromium-headless-shell (Debian) or chromium, "
        f"or set {VARIABLE} to the binary"
    )


def _configured(path: Path, debian: Path) -> Path:
    if not path.exists():
        problem = "does not exist"
    elif not _runnable(path):
        problem = "is not an executable file"
    else:
        return _unwrapped(path, debian)
    raise NoBrowser(
        f"{VARIABLE}={path} {problem}: set it to a Chromium binary, for example "
        f"{debian / HEADLESS_SHELL}, or unset it to use the installed one"
    )


def _unwrapped(path: Path, debian: Path) -> Path:
    """Return the binary behind one of Debian's wrapper scripts.

    The wrapper of headless-shell runs the browser as a child of a shell: a
    signal to the process we started would end the shell and orphan the browser.
    """
    with path.open("rb") as file:
        script = file.read(2) == b"#!"
    real = debian / path.name
    return real if script and _runnable(real) else path


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def is_headless_shell(executable: Path) -> bool:
    """Tell the small browser from the full one, by its name."""
    return "headless" in executable.name


@cache
def sandbox_works(executable: Path) -> bool:
    """Tell whether Chromium can have its own sandbox here. Blocks for a moment, once.

    It refuses to as root, and else needs its setuid helper or unprivileged user
    namespaces, which containers and hardened kernels forbid in several ways:
    trying is the only certain test.
    """
    if os.geteuid() == 0:
        return False
    helper = executable.with_name("chrome-sandbox")
    if helper.is_file() and helper.stat().st_mode & stat.S_ISUID:
        return True
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run([unshare, "--user", "true"], capture_output=True, check=False)
    return tried.returncode == 0


_SHARED_MEMORY = Path("/dev") / "shm"


def has_small_shared_memory(shared: Path = _SHARED_MEMORY) -> bool:
    """Tell whether pages would crash for want of shared memory, as in containers with 64 MB."""
    return not shared.is_dir() or shutil.disk_usage(shared).total < 1 << 30


def command_line(
    executable: Path,
    profile: Path,
    options: BrowserOptions,
    *,
    sandboxed: bool,
    small_shared_memory: bool,
    network: tuple[str, ...],
) -> list[str]:
    """Build the lean command line: 49 MB a session against 161 with puppeteer's flags.

    `sandboxed` keeps Chromium's own sandbox and the zygote it needs; `network`
    is what the simulated WhatsApp adds, empty in production.
    """
    # The old headless mode is a binary of its own now; a full browser needs the new one.
    shell = is_headless_shell(executable)
    v8 = " ".join((f"--max-old-space-size={options.heap_mb}", *_V8))
    return [
        str(executable),
        "--headless" if shell else "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--disk-cache-dir={profile / 'cache'}",
        f"--disk-cache-size={options.disk_cache_mb * 1024 * 1024}",
        *_QUIET,
        *_LEAN,
        f"--js-flags={v8}",
        # Without a sandbox there is nothing a zygote prepares: 8 MB less.
        *(() if sandboxed else ("--no-sandbox", "--no-zygote")),
        *(("--disable-dev-shm-usage",) if small_shared_memory else ()),
        *network,
        *options.extra_args,
        "about:blank",
    ]


# Nothing that asks, reports, updates or slows a page nobody looks at.
_QUIET = (
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    # Idle cost is repainting: pages that respect it drop their animations.
    "--force-prefers-reduced-motion",
)

# A heap that is small is to stay small, but V8 is not to collect all of it in each pause, as it
# does after 8 s: with a message every few seconds that was a quarter of a browser's work.
# Were it switched off, what a page is done with would pile up by tens of MB an hour.
_V8 = (
    "--optimize-for-size",
    "--max-semi-space-size=1",
    "--gc-memory-reducer-start-delay-ms=120000",
)

# One renderer and no process beside it; each flag was measured.
_LEAN = (
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--in-process-gpu",
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--enable-features=NetworkServiceInProcess2,NetworkServiceInProcess",
    "--disable-features=site-per-process,NetworkServiceSandbox,StorageServiceOutOfProcess,Translate",
)
