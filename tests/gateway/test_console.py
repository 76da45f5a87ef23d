"""What the console is made of, without a browser."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from gateway.console.bundle import PAGE, Bundle
from gateway.webhooks.endpoint import EVENTS
from tests.gateway.conftest import Running

SOURCES = sorted(PAGE.glob("*.js"))
FIRST_LOAD = 200_000
"""Bytes, compressed, of everything that the console ever fetches of itself."""


async def test_the_page_opens_without_a_key_and_may_load_nothing_from_elsewhere(
    alone: Running,
) -> None:
    del alone.http.headers["x-api-key"]

    answer = await alone.http.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in answer.headers["content-security-policy"]


async def test_an_unchanged_page_is_not_sent_again(alone: Running) -> None:
    first = await alone.http.get("/")

    again = await alone.http.get("/", headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


async def test_every_file_that_the_page_names_is_there_and_kept_for_ever(alone: Running) -> None:
    page = (await alone.http.get("/")).text

    names = re.findall(r'(?:href|src)="(console/[^"]+)"', page)

    assert len(names) > len(SOURCES)
    for name in names:
        answer = await alone.http.get(f"/{name}")
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]


async def test_a_client_that_takes_gzip_gets_it(alone: Running) -> None:
    plain = await alone.http.get("/", headers={"accept-encoding": "identity"})
    packed = await alone.http.get("/", headers={"accept-encoding": "gzip"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text


def test_the_first_load_is_small() -> None:
    bundle = Bundle.read()

    whole = len(bundle.entry.packed) + sum(len(file.packed) for file in bundle.files.values())

    assert "uplot.js" in bundle.files
    assert whole < FIRST_LOAD


def test_other_contents_have_another_digest(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!-- modules -->")
    (tmp_path / "a.js").write_text("1")
    before = Bundle.read(tmp_path, tmp_path)

    (tmp_path / "a.js").write_text("2")
    after = Bundle.read(tmp_path, tmp_path)

    assert before.digest != after.digest
    assert after.digest in gzip.decompress(after.entry.packed).decode()


def test_without_the_library_of_charts_everything_else_is_served(tmp_path: Path) -> None:
    bundle = Bundle.read(PAGE, tmp_path / "missing")

    assert "uplot.js" not in bundle.files
    assert {path.name for path in SOURCES} <= set(bundle.files)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_turns_text_into_markup_or_names_another_host(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    hosts = set(re.findall(r"https?://[\w.-]+", text))
    # The name of a language, which nobody fetches.
    assert hosts <= {"http://www.w3.org"}


def test_the_events_that_it_offers_are_those_that_there_are() -> None:
    listed = re.search(r"EVENTS = \[(.*?)\]", (PAGE / "names.js").read_text(), re.DOTALL)

    assert listed is not None
    assert set(re.findall(r'"([a-z-]+)"', listed[1])) == EVENTS


def test_every_text_that_a_view_asks_for_is_there() -> None:
    script = Path(__file__).parent / "console_texts.mjs"

    done = subprocess.run(
        ["node", "--no-warnings", str(script), f"{PAGE.as_uri()}/"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == ""
