"""Why sessions crash, in plain words."""

from __future__ import annotations

WHY: dict[str, str] = {
    "browser_exited": "its browser ended",
    "page_crashed": "its browser's page crashed",
    "connection_lost": "the connection to its browser was lost",
    "page_gone": "its browser's page is gone",
    "page_hung": "its browser's page does not answer",
    "browser_error": "its browser failed",
    "no_browser": "there is no Chromium on its node",
    "launch_failed": "its browser does not start",
    "profile_busy": "another process uses its profile",
    "unreachable": "WhatsApp cannot be reached",
    "deprecated_version": "WhatsApp refuses this version of its page",
    "proxy_blocked": "WhatsApp refuses this network",
    "start_timeout": "it did not start in time",
    "sync_timeout": "it did not synchronise in time",
    "qr_stuck": "WhatsApp showed no new code",
    "offline_timeout": "WhatsApp stayed away",
}
"""The reasons of a crash in plain words; others (WhatsApp's own words) are told as they are."""
