"""Which binary is started, and with which command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.browser.executable import command_line, find_executable
from actors.browser.options import BrowserOptions
from actors.browser.protocol import NoBrowser


def binary(path: Path, text: str = "\x7fELF") -> Path:
    """Make something that could be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_lean_shell_is_taken_before_the_full_browser(tmp_path: Path) -> None:
    shell = binary(tmp_path / "chromium-headless-shell")
    binary(tmp_path / "chromium")

    assert find_executable(None, debian=tmp_path) == shell


def test_the_full_browser_is_taken_where_there_is_no_shell(tmp_path: Path) -> None:
    full = binary(tmp_path / "chromium")

    assert find_executable(None, debian=tmp_path) == full


def test_a_browser_on_the_path_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chrome = binary(tmp_path / "bin" / "google-chrome")
    monkeypatch.setenv("PATH", str(chrome.parent))

    assert find_executable(None, debian=tmp_path / "nothing") == chrome


def test_no_browser_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoBrowser, match="install chromium-headless-shell"):
        find_executable(None, debian=tmp_path / "nothing")


def test_a_wrong_path_names_the_variable_the_path_and_the_mend(tmp_path: Path) -> None:
    wrong = tmp_path / "no" / "chrome"
    binary(tmp_path / "chromium-headless-shell")

    with pytest.raises(NoBrowser) as error:
        find_executable(wrong, debian=tmp_path)

    for part in ("PUPPETEER_EXECUTABLE_PATH", str(wrong), "does not exist", "unset it"):
        assert part in str(error.value)


def test_a_path_that_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "chrome"
    plain.write_text("not a program")

    with pytest.raises(NoBrowser, match="is not an executable file"):
        find_executable(plain, debian=tmp_path)


def test_debians_wrapper_script_is_replaced_by_the_binary_behind_it(tmp_path: Path) -> None:
    real = binary(tmp_path / "lib" / "chromium-headless-shell")
    wrapper = binary(tmp_path / "bin" / "chromium-headless-shell", "#!/bin/sh\nexec something")

    assert find_executable(wrapper, debian=real.parent) == real


def test_a_binary_that_was_asked_for_is_taken_as_it_is(tmp_path: Path) -> None:
    binary(tmp_path / "lib" / "chromium")
    own = binary(tmp_path / "own" / "chromium")

    assert find_executable(own, debian=tmp_path / "lib") == own


def line(tmp_path: Path, name: str = "chromium-headless-shell", **changed: object) -> list[str]:
    """Build a command line for production, with some of it changed."""
    given = {"sandboxed": True, "small_shared_memory": False, "network": (), **changed}
    options = given.pop("options", BrowserOptions())
    return command_line(Path("/usr/lib") / name, tmp_path, options, **given)  # type: ignore[arg-type]


def test_production_has_nothing_of_the_simulator_on_its_command_line(tmp_path: Path) -> None:
    words = " ".join(line(tmp_path))

    assert "host-resolver" not in words
    assert "certificate" not in words


def test_everything_a_browser_writes_is_inside_the_profile(tmp_path: Path) -> None:
    words = line(tmp_path)

    assert f"--user-data-dir={tmp_path}" in words
    assert f"--disk-cache-dir={tmp_path / 'cache'}" in words
    assert "--remote-debugging-port=0" in words


def test_the_sandbox_stays_where_it_works_and_keeps_its_zygote(tmp_path: Path) -> None:
    assert not {"--no-sandbox", "--no-zygote"} & set(line(tmp_path, sandboxed=True))
    assert {"--no-sandbox", "--no-zygote"} <= set(line(tmp_path, sandboxed=False))


def test_a_full_browser_is_started_in_the_new_headless_mode(tmp_path: Path) -> None:
    assert "--headless" in line(tmp_path)
    assert "--headless=new" in line(tmp_path, name="chromium")


def test_the_heap_and_more_flags_are_the_operators_to_choose(tmp_path: Path) -> None:
    options = BrowserOptions(heap_mb=512, extra_args=("--proxy-server=example:1",))

    words = line(tmp_path, options=options)

    assert any("--max-old-space-size=512" in word for word in words)
    assert "--proxy-server=example:1" in words


def test_little_shared_memory_is_not_relied_on(tmp_path: Path) -> None:
    assert "--disable-dev-shm-usage" in line(tmp_path, small_shared_memory=True)
    assert "--disable-dev-shm-usage" not in line(tmp_path)
