"""Chromium on the simulator, when things go wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from actors.browser.launcher import PyppeteerBrowser, PyppeteerLauncher
from actors.browser.options import BrowserOptions, Deadlines
from actors.browser.protocol import (
    Gone,
    LaunchFailed,
    Loading,
    LoggedOut,
    MessageSeen,
    NoBrowser,
    PageGone,
    PageTimeout,
    QrShown,
    Sighting,
    StateSeen,
    Unreachable,
)
from actors.sightings import fact_of
from events.session import Session, State
from events.session_facts import Failure
from tests.browser.simulated import simulator_url  # noqa: F401  # a fixture
from tests.browser.test_chromium import alive, until
from tests.browser.world import (
    ALICE,
    ChromiumWorld,
    Page,
    Sightings,
    chromium_world,
    group_of,
    now,
    options_for,
    renderer_of,
)
from tests.fakes.browser import new_id

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:remove loop argument:DeprecationWarning"),
]

TO_ALICE = f"{ALICE}@c.us"
NEVER = {"expression": "new Promise(() => 0)", "awaitPromise": True}


@pytest.fixture
async def world(simulator_url: str, tmp_path: Path) -> AsyncIterator[ChromiumWorld]:  # noqa: F811
    """Chromium on the simulator."""
    async with chromium_world(tmp_path, simulator_url) as world:
        yield world


def browser_with(options: BrowserOptions, tmp_path: Path) -> PyppeteerBrowser:
    """Prepare a browser with options of its own."""
    return PyppeteerLauncher(options, tmp_path).browser(tmp_path / "own", "own")


async def test_a_message_that_cannot_be_described_costs_no_other(world: ChromiumWorld) -> None:
    page = await world.linked()
    ids = [await world.incoming(ALICE, body) for body in ("first", "second", "third")]
    await page.seen.next(MessageSeen, lambda m: m.wa_id == ids[-1])

    await evaluate(
        page,
        f"Object.defineProperty(WPP.whatsapp.MsgStore.getModelsArray()"
        f".find((msg) => msg.id.id === '{ids[0]}'), 'ack', {{ get() {{ throw 'odd'; }} }}) && 0",
    )
    await evaluate(
        page,
        f"WPP.whatsapp.MsgStore.getModelsArray().find((msg) => msg.id.id === '{ids[1]}')"
        ".ack = 'odd'",
    )
    found = await page.browser.messages_since(now() - timedelta(hours=1))

    assert [message.wa_id for message in found] == [ids[2]]


def nothing(_: Sighting) -> None:
    """Hear nothing."""


async def evaluate(page: Page, expression: str) -> object:
    """Run something in the page, as only its own scripts could."""
    browser = page.browser
    assert isinstance(browser, PyppeteerBrowser)
    return await browser._page._evaluate(expression, 5)  # type: ignore[union-attr]


# --- starting -----------------------------------------------------------------------


async def test_a_binary_that_is_not_there_leaves_the_profile_free(tmp_path: Path) -> None:
    browser = browser_with(BrowserOptions(executable=Path("/no/chrome")), tmp_path)

    with pytest.raises(NoBrowser, match="PUPPETEER_EXECUTABLE_PATH"):
        await browser.start(nothing)

    assert not (tmp_path / "own").exists()


async def test_a_missing_wa_js_says_how_to_get_it(tmp_path: Path) -> None:
    browser = browser_with(BrowserOptions(wa_js=tmp_path / "no.js"), tmp_path)

    with pytest.raises(LaunchFailed, match="npm ci"):
        await browser.start(nothing)


async def test_a_name_that_does_not_resolve_is_unreachable(tmp_path: Path) -> None:
    nowhere = BrowserOptions(extra_args=("--host-resolver-rules=MAP * ~NOTFOUND",))
    browser = browser_with(nowhere, tmp_path)

    with pytest.raises(Unreachable, match="ERR_NAME_NOT_RESOLVED"):
        await browser.start(nothing)

    assert browser.pid is None


async def test_a_host_that_refuses_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        rule = f"MAP web.whatsapp.com 127.0.0.1:{closed.getsockname()[1]}"
        refusing = BrowserOptions(extra_args=(f"--host-resolver-rules={rule}",))

        with pytest.raises(Unreachable, match="ERR_CONNECTION_REFUSED"):
            await browser_with(refusing, tmp_path).start(nothing)


async def test_a_certificate_of_nobody_is_unreachable(world: ChromiumWorld, tmp_path: Path) -> None:
    port = world.url.rpartition(":")[2]
    rule = f"--host-resolver-rules=MAP web.whatsapp.com 127.0.0.1:{port}"
    browser = browser_with(BrowserOptions(extra_args=(rule,)), tmp_path)

    with pytest.raises(Unreachable, match="ERR_CERT"):
        await browser.start(nothing)


async def test_an_http_error_is_unreachable(world: ChromiumWorld) -> None:
    await world.phone.config(unreachable=True)

    with pytest.raises(Unreachable, match="503"):
        await world.start()

    assert world.opened[0].browser.pid is None


async def test_a_cancelled_start_leaves_nothing_running(world: ChromiumWorld) -> None:
    page = Page(world.launcher.browser(world.root / "ann", "ann"))
    starting = asyncio.create_task(page.browser.start(page.seen))
    await until(lambda: page.browser.pid)
    members = group_of(page.browser)

    starting.cancel()
    await asyncio.wait({starting})

    assert starting.cancelled()
    assert not any(alive(member) for member in members)
    await world.start()


async def test_a_close_during_the_start_ends_both(world: ChromiumWorld) -> None:
    for turns in (0, 1, 5, 50):
        page = Page(world.launcher.browser(world.root / "ann", "ann"))
        starting = asyncio.create_task(page.browser.start(page.seen))
        for _ in range(turns):
            await asyncio.sleep(0.002)

        await page.browser.close()
        await asyncio.wait({starting})

        assert page.browser.pid is None
        assert isinstance(starting.exception(), LaunchFailed | None)
    again = await world.start()
    assert again.browser.pid


async def test_a_page_that_turns_headless_browsers_away_takes_ours(world: ChromiumWorld) -> None:
    await world.phone.config(reject_headless=True)

    page = await world.start()

    await page.seen.next(QrShown)


async def test_modules_that_come_late_do_not_kill_wa_js(world: ChromiumWorld) -> None:
    await world.phone.config(late_modules=["WAWebSocketModel", "WAWebCmd"], late_ms=1500)

    page = await world.start()

    assert (await page.browser.status()).socket == ""
    await page.seen.next(QrShown)


async def test_modules_that_never_come_are_visible(world: ChromiumWorld, tmp_path: Path) -> None:
    await world.phone.config(late_modules=["WAWebSocketModel"], late_ms=60_000)
    options = replace(options_for(world.url), deadlines=Deadlines(inject=0.3))
    seen = Sightings()
    browser = browser_with(options, tmp_path)

    await browser.start(seen)

    await seen.next(Loading, lambda loading: loading.message == "NO_MODULES")
    status = await browser.status()
    assert (status.socket, status.mode, status.authenticated) == ("", "", False)
    await browser.close()


async def test_a_rejected_version_is_told_by_the_page_that_is_up_and_again_after_one_reload(
    world: ChromiumWorld,
) -> None:
    page = await world.linked()
    await world.phone.config(min_version="2.3000.2000000000")

    await world.drop(page)
    up = await page.seen.next(StateSeen, lambda seen: seen.status.socket == "DEPRECATED_VERSION")
    await page.browser.close()
    reloaded = await world.start()
    first = await reloaded.seen.next(StateSeen, lambda seen: seen.status.socket != "OPENING")

    refused = Failure("deprecated_version", "WhatsApp refuses this version of its page")
    assert fact_of(up.status, Session(state=State.READY, linked=True)) == refused
    assert fact_of(first.status, Session(state=State.STARTING, linked=True)) == refused
    await reloaded.browser.close()
    await world.phone.config(version="2.3000.2000000000")
    await (await world.start()).seen.ready()


# --- the page and its connection -----------------------------------------------------


async def test_late_answers_do_not_break_the_connection(world: ChromiumWorld) -> None:
    page = await world.linked()
    wire = page.browser._wire  # type: ignore[attr-defined]
    slow = "new Promise((done) => setTimeout(() => done(1), 300))"
    params = {"expression": slow, "awaitPromise": True}

    for _ in range(3):
        with pytest.raises(PageTimeout):
            await wire.call("Runtime.evaluate", params, 0.05)
    cancelled = asyncio.create_task(page.browser.status())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0.5)

    assert (await page.browser.status()).mode == "MAIN"
    assert not page.seen.of(Gone)


async def test_a_stopped_page_times_out_and_answers_again_when_it_goes_on(
    world: ChromiumWorld,
) -> None:
    page = await world.linked()
    renderer = renderer_of(page.browser)
    os.kill(renderer, signal.SIGSTOP)
    wire = page.browser._wire  # type: ignore[attr-defined]

    with pytest.raises(PageTimeout):
        await wire.call("Runtime.evaluate", {"expression": "1"}, 0.2)
    os.kill(renderer, signal.SIGCONT)

    assert (await page.browser.status()).mode == "MAIN"


async def test_a_browser_that_is_stopped_altogether_is_still_closed(
    world: ChromiumWorld, tmp_path: Path
) -> None:
    options = replace(options_for(world.url), deadlines=Deadlines(close=0.5))
    browser = browser_with(options, tmp_path)
    await browser.start(nothing)
    members = group_of(browser)
    assert browser.pid
    os.kill(browser.pid, signal.SIGSTOP)
    began = time.monotonic()

    graceful = await browser.close()

    assert not graceful
    assert time.monotonic() - began < 5
    assert not any(alive(member) for member in members)


async def test_a_page_that_crashes_itself_ends_pending_calls_at_once(world: ChromiumWorld) -> None:
    page = await world.linked()
    wire = page.browser._wire  # type: ignore[attr-defined]
    pending = asyncio.create_task(
        wire.call(
            "Runtime.evaluate", {"expression": "new Promise(() => 0)", "awaitPromise": True}, 60
        )
    )
    await asyncio.sleep(0)

    await wire.call("Page.navigate", {"url": "chrome://crash"}, 5)

    with pytest.raises(PageGone):
        await pending
    assert (await page.seen.next(Gone)).reason == "page_crashed"
    assert await page.browser.close()


async def test_a_killed_browser_ends_pending_calls_at_once(world: ChromiumWorld) -> None:
    page = await world.linked()
    wire = page.browser._wire  # type: ignore[attr-defined]
    pending = asyncio.create_task(
        wire.call(
            "Runtime.evaluate", {"expression": "new Promise(() => 0)", "awaitPromise": True}, 60
        )
    )
    await asyncio.sleep(0)

    await world.kill(page)

    with pytest.raises(PageGone):
        await pending
    assert (await page.seen.next(Gone)).detail == "the browser was killed by signal 9"


async def test_a_link_outlives_a_log_that_a_kill_broke_off(world: ChromiumWorld) -> None:
    page = await world.linked()
    await world.kill(page)
    await page.browser.close()
    [database] = (world.root / "ann").glob("Default/IndexedDB/*.leveldb")
    with max(database.glob("*.log")).open("ab") as log:
        log.write(struct.pack("<IHB", 0, 300, 1))  # The header of a record that never came.

    # The next browser writes behind it; it is the one after that which makes no sense of it.
    for text in ("written behind it", "read again"):
        page = await world.start()
        await page.seen.ready()
        wa_id = await world.incoming(ALICE, text)
        await page.seen.next(MessageSeen, lambda m, sent=wa_id: m.wa_id == sent)
        await world.kill(page)
        await page.browser.close()

        assert not page.seen.of(QrShown)


async def test_a_connection_that_breaks_is_told_as_that(world: ChromiumWorld) -> None:
    page = await world.linked()
    wire = page.browser._wire  # type: ignore[attr-defined]

    wire._pipe.connection.transport.abort()

    assert (await page.seen.next(Gone)).reason == "connection_lost"
    assert page.browser.pid, "the process is still there to be closed"
    assert await page.browser.close()


async def test_a_listener_that_fails_does_not_stop_the_page(world: ChromiumWorld) -> None:
    seen = Sightings()

    def failing(sighting: Sighting) -> None:
        seen(sighting)
        raise RuntimeError("a bug of the listener")

    browser = world.launcher.browser(world.root / "ann", "ann")
    page = Page(browser, seen)
    world.opened.append(page)
    await browser.start(failing)

    await world.link(page)

    assert (await browser.status()).mode == "MAIN"


async def test_a_reload_is_survived(world: ChromiumWorld) -> None:
    page = await world.linked()
    mark = page.seen.mark()

    await evaluate(page, "void location.reload()")

    await page.seen.ready(after=mark)
    wa_id = new_id()
    assert (await page.browser.send_text(TO_ALICE, "after a reload", wa_id)).wa_id == wa_id
    await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)


async def test_only_the_page_itself_is_heard(world: ChromiumWorld) -> None:
    page = await world.start()
    await page.seen.next(QrShown)
    notice = json.dumps(json.dumps({"kind": "logged_out", "reason": "forged"}))
    frame = f"""new Promise((done) => {{
      const frame = document.createElement('iframe');
      document.body.append(frame);
      frame.contentWindow.__waTell({notice});
      done(typeof frame.contentWindow.__wa);
    }})"""

    inside = await evaluate(page, frame)
    await page.browser.status()

    assert inside == "undefined"
    assert not page.seen.of(LoggedOut)
    await evaluate(page, f"void __waTell({notice})")
    await page.seen.next(
        type(page.seen.all[0]).__mro__[-1], lambda s: getattr(s, "reason", "") == "forged"
    )


async def test_notices_that_cannot_be_read_are_dropped(world: ChromiumWorld) -> None:
    page = await world.start()
    await page.seen.next(QrShown)
    mark = page.seen.mark()

    for text in ("not json", "[]", '{"kind": "qr"}', '{"kind": "unheard of"}'):
        await evaluate(page, f"void __waTell({json.dumps(text)})")
    await page.browser.refresh_qr()

    await page.seen.next(QrShown, after=mark)
    assert all(isinstance(s, QrShown | StateSeen) for s in page.seen.all[mark:])


async def test_pages_cannot_change_what_we_call(world: ChromiumWorld) -> None:
    page = await world.start()
    await page.seen.next(QrShown)

    kept = await evaluate(page, "(__wa.status = 1, window.__wa = 2, typeof __wa.status)")

    assert kept == "function"


# --- what is left -------------------------------------------------------------------


async def test_starting_and_closing_leaves_nothing(world: ChromiumWorld, tmp_path: Path) -> None:
    us = psutil.Process()
    await (await world.start()).browser.close()
    files, children = us.num_fds(), len(us.children())
    temporary = _temporary()

    for _ in range(4):
        page = await world.start()
        members = group_of(page.browser)
        await page.browser.close()
        assert not any(alive(member) for member in members)

    assert us.num_fds() == files
    assert len(us.children()) == children
    assert _temporary() <= temporary
    left = {path.name for path in (world.root / "ann").iterdir()}
    assert not {"tmp", ".wa.browser.json"} & left


async def test_a_killed_browser_leaves_nothing_either(world: ChromiumWorld) -> None:
    us = psutil.Process()
    await (await world.start()).browser.close()
    files, children = us.num_fds(), len(us.children())

    for _ in range(3):
        page = await world.start()
        await world.kill(page)
        await page.seen.next(Gone)
        await page.browser.close()

    assert us.num_fds() == files
    assert len(us.children()) == children


def _temporary() -> set[str]:
    """Chromium's own names in the system's folder for temporary files."""
    names = (path.name for path in Path("/tmp").iterdir())
    return {name for name in names if "chromium" in name.lower() or "chrome" in name.lower()}
