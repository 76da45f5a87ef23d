"""Every screen in both themes, at a desk and on a telephone: nothing for axe, nothing too wide."""

from __future__ import annotations

import pytest

from events.subjects import SessionId
from tests.console.conftest import Stage
from tests.console.person import Person
from tests.gateway.conftest import KEY, key_for
from tests.gateway.webhooks.receiver import Receiver, fails

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

NUMBER, CHAT = "15550001111", "15557654321@c.us"
# What each screen says once it is there.
SCREENS = {
    "overview": "What to do",
    "sessions": "4 sessions",
    "sessions/ann-shop": "Why it stands as it does",
    "sessions/gone": "There is no session gone",
    f"chats/ann-shop/{CHAT}": "Do you have it in blue?",
    "chats/carl-news": "carl-news is not ready",
    "events": "state-change",
    "webhooks": "crm",
    "webhooks/crm": "Dead letters",
    "keys": "support desk",
    "nowhere": "There is no such page",
}


async def test_every_screen_is_in_order(stage: Stage, person: Person, receiver: Receiver) -> None:
    receiver.answers = fails
    quick = {"webhook_retry_hours": 1e-6, "webhook_backoff_first": 0.05, "backoff_first": 600}
    found: list[str] = []
    async with stage(webhook_allow_private="127.0.0.1", **quick) as service:
        http, url = service.gateway.http, f"{service.gateway.url}/"
        await key_for(http, "ann", "read")
        await http.post("/api/keys", json={"name": "support desk", "userId": "ann"})
        await service.link(SessionId("ann", "shop"), NUMBER)
        await service.link(SessionId("ben", "desk"), "15550002222")
        await service.link(SessionId("ben", "away"), "15550003333")
        await http.post("/api/sessions/create", json={"userId": "carl", "plubotId": "news"})
        await http.put("/api/webhooks/crm", json={"url": receiver.url, "events": ["*"]})
        await http.post("/api/sessions/ben-desk/disconnect", json={})
        service.launcher.of("ben-away").die()
        service.launcher.whatsapp.deliver(NUMBER, CHAT, "Do you have it in blue?")

        for theme in ("light", "dark"):
            for width in (1280, 360):
                await person.sit(url, theme=theme, width=width, height=740)
                await person.log_in(KEY)
                for place, says in SCREENS.items():
                    await person.do("go", url=f"{url}#/{place}")
                    await person.sees(says)
                    where = f"{place}, {theme}, {width}"
                    found += [f"{where}: {one}" for one in await person.violations()]
                    found += [f"{where}: {one} is too wide" for one in await person.too_wide()]

    assert found == []
