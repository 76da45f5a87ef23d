"""The WhatsApp page of a browser: opened, injected, asked and listened to."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import TypeAdapter

from actors.browser.cdp import ProtocolError, Wire
from actors.browser.options import PAGE_ORIGIN, PAGE_URL, Deadlines
from actors.browser.protocol import (
    BrowserError,
    LaunchFailed,
    Notify,
    NotSent,
    PageRefused,
    PageReloaded,
    Unreachable,
)
from actors.browser.sightings import Reply, Unreadable, read_notice

log = structlog.get_logger()

BINDING = "__waTell"
_PAGE_JS = Path(__file__).with_name("page.js")
# What Chromium says when a document went away under a call.
_RELOADED = ("navigated or closed", "context was destroyed", "Cannot find context", "collected")

T = TypeVar("T")


@cache
def page_script(wa_js: Path, inject_deadline: float) -> str:
    """Compose what runs in every new document: our script, which holds wa-js until its time."""
    try:
        bundle = wa_js.read_text()
    except OSError as error:
        raise LaunchFailed(f"wa-js is not at {wa_js}: run npm ci ({error.strerror})") from error
    facts = json.dumps(
        {"origin": PAGE_ORIGIN, "binding": BINDING, "injectDeadline": inject_deadline * 1000}
    )
    ours = _PAGE_JS.read_text().rstrip().rstrip(";")
    # Parsed by V8 only when it is called, and no eval: the page's CSP has no say.
    return f"({ours})({{...{facts}, injectWaJs: function () {{\n{bundle}\n}}}});"


class WhatsAppPage:
    """One page on one DevTools connection of its own."""

    def __init__(self, wire: Wire, target: str, deadlines: Deadlines, notify: Notify) -> None:
        self._wire = wire
        self._deadlines = deadlines
        self._notify = notify
        self._main_frame = target  # a page's main frame has the id of its target
        self._contexts: set[int] = set()
        wire.on("Runtime.bindingCalled", self._on_told)
        wire.on("Runtime.executionContextCreated", self._on_context)
        wire.on("Runtime.executionContextDestroyed", self._on_context_destroyed)
        wire.on("Runtime.executionContextsCleared", lambda _: self._contexts.clear())

    async def prepare(self, script: str) -> None:
        """Install script and binding; both outlive every navigation of the page."""
        # The binding is heard only while Runtime is enabled. Network stays off: it
        # would send us every frame of WhatsApp's socket.
        for method, params in (
            ("Page.enable", {}),
            ("Inspector.enable", {}),
            ("Runtime.enable", {}),
            ("Runtime.addBinding", {"name": BINDING}),
            ("Page.addScriptToEvaluateOnNewDocument", {"source": script}),
        ):
            await self._command(method, params)
        await self._look_like_a_browser()

    async def _look_like_a_browser(self) -> None:
        """Drop "Headless" from the name: WhatsApp Web turns such browsers away."""
        version = await self._command("Browser.getVersion", {})
        agent: str = version["userAgent"].replace("HeadlessChrome", "Chrome")
        full: str = version["product"].partition("/")[2]
        brands = ("Chromium", "Google Chrome")
        await self._command(
            "Emulation.setUserAgentOverride",
            {
                "userAgent": agent,
                "userAgentMetadata": {
                    "brands": [{"brand": b, "version": full.partition(".")[0]} for b in brands],
                    "fullVersionList": [{"brand": b, "version": full} for b in brands],
                    "platform": "Linux",
                    "platformVersion": "",
                    "architecture": "x86",
                    "model": "",
                    "mobile": False,
                },
            },
        )

    async def open(self) -> None:
        """Load WhatsApp Web. Raises Unreachable with the network's own word for it."""
        answer = await self._command(
            "Page.navigate", {"url": PAGE_URL}, timeout=self._deadlines.navigation
        )
        if error := answer.get("errorText"):
            raise Unreachable(f"WhatsApp Web cannot be loaded: {error}")
        try:
            status = await self._evaluate(_LOADED, self._deadlines.navigation)
        except PageReloaded:
            # It went on by itself, which only a page that was loaded does.
            return
        if isinstance(status, int) and status >= 400:
            raise Unreachable(f"WhatsApp Web answers with HTTP status {status}")

    async def ask(
        self, answer: TypeAdapter[T], call: str, *args: object, timeout: float | None = None
    ) -> T:
        """Call one of the page's functions and read its answer.

        Raises PageTimeout, PageReloaded and PageGone when the outcome is unknown,
        PageRefused when nothing was done, NotSent for a refusal for good.
        """
        given = ", ".join(json.dumps(argument) for argument in args)
        # No function yet: about:blank, an error page, or a document that has just begun.
        expression = f"window.__wa ? __wa.{call}({given}) : {{failed: 'not_ready'}}"
        said = await self._evaluate(expression, timeout or self._deadlines.call)
        reply = Reply.model_validate(said)
        if reply.refused is not None:
            raise NotSent(reply.refused)
        if reply.failed is not None:
            raise PageRefused(reply.failed, reply.detail)
        return answer.validate_python(reply.value)

    async def screenshot(self) -> bytes:
        """Return a PNG."""
        answer = await self._command("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(answer["data"])

    async def _evaluate(self, expression: str, timeout: float) -> Any:
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self._command("Runtime.evaluate", params, timeout=timeout)
        if "exceptionDetails" in answer:
            raise PageRefused("exception", answer["exceptionDetails"].get("text", ""))
        return answer["result"].get("value")

    async def _command(
        self, method: str, params: dict[str, Any], timeout: float | None = None
    ) -> dict[str, Any]:
        try:
            return await self._wire.call(method, params, timeout or self._deadlines.call)
        except ProtocolError as error:
            if any(words in str(error) for words in _RELOADED):
                raise PageReloaded(f"the page was loaded anew during {method}") from error
            raise BrowserError(str(error)) from error

    # --- what comes from the page ---------------------------------------------------

    def _on_context(self, params: dict[str, Any]) -> None:
        context = params["context"]
        about = context.get("auxData", {})
        if (
            about.get("isDefault")
            and about.get("frameId") == self._main_frame
            and context["origin"] == PAGE_ORIGIN
        ):
            self._contexts.add(context["id"])

    def _on_context_destroyed(self, params: dict[str, Any]) -> None:
        self._contexts.discard(params["executionContextId"])

    def _on_told(self, params: dict[str, Any]) -> None:
        # The binding is in every frame: only the top document of WhatsApp is heard.
        if params["name"] != BINDING or params["executionContextId"] not in self._contexts:
            return
        sighting = read_notice(params["payload"])
        if isinstance(sighting, Unreadable):
            log.error("browser.notice_unreadable", where=sighting.where, problem=sighting.problem)
        else:
            self._notify(sighting)


# The document's HTTP status as soon as it is parsed.
_LOADED = """new Promise((loaded) => {
  const status = () => loaded(performance.getEntriesByType('navigation')[0]?.responseStatus ?? 0);
  if (document.readyState !== 'loading') return status();
  document.addEventListener('DOMContentLoaded', status, { once: true });
})"""
