"""Names on the wire, and ids that try to be more than an id."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import subjects
from events.subjects import BadToken, SessionId, token

ADA = SessionId("ada", "shop-1")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

GOOD = ["a", "7", "_", "-", "--", "ada", "A_b-9", "x" * 64, "123456"]
BAD = {
    "empty": "",
    "too long": "x" * 65,
    "dot": "ada.shop",
    "only a dot": ".",
    "star": "*",
    "star inside": "a*b",
    "all the rest": ">",
    "space": "ada shop",
    "space behind": "ada ",
    "newline behind": "ada\n",
    "newline": "a\nb",
    "tab": "a\tb",
    "null": "a\0b",
    "dollar": "$SYS",
    "slash": "a/b",
    "colon": "a:b",
    "brace": "{a}",
    "percent": "a%2e",
    "umlaut": "ä",
    "cyrillic a": "аda",
    "digit of another script": "١٢",
    "full width": "ａｄａ",
    "zero width": "a\u200bb",
    "emoji": "😀",
    "half an emoji": "\ud83d",
}


@pytest.mark.parametrize("value", GOOD)
def test_a_token_comes_back_as_it_is(value: str) -> None:
    assert token(value) == value


@pytest.mark.parametrize("word", BAD)
def test_anything_else_is_refused_and_the_field_is_named(word: str) -> None:
    with pytest.raises(BadToken, match=r"^botId must be 1 to 64 characters") as refused:
        token(BAD[word], "botId")

    assert refused.value.field == "botId"


@pytest.mark.parametrize("word", BAD)
def test_no_name_is_made_of_a_bad_id(word: str) -> None:
    bad = BAD[word]

    with pytest.raises(BadToken, match="userId"):
        SessionId(bad, "shop")
    with pytest.raises(BadToken, match="plubotId"):
        SessionId("ada", bad)
    for name in (subjects.create_command, subjects.pool_family):
        with pytest.raises(BadToken):
            name(bad)
    with pytest.raises(BadToken):
        subjects.pool_event(bad, "node_started")


@given(st.text(max_size=70))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_token_is_what_the_rule_says_and_nothing_else(value: str) -> None:
    expected = 1 <= len(value) <= 64 and set(value) <= set(ALPHABET)

    try:
        accepted = token(value) == value
    except BadToken:
        accepted = False

    assert accepted == expected


TOKENS = st.text(st.sampled_from("ab-_"), min_size=1, max_size=6)


@given(TOKENS, TOKENS)
@settings(deadline=None, derandomize=True)
def test_the_dotted_form_comes_back(user: str, bot: str) -> None:
    session = SessionId(user, bot)

    assert SessionId.parse(session.dotted) == session


@given(TOKENS, TOKENS, TOKENS, TOKENS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_two_pairs_never_share_a_dotted_form(a: str, b: str, c: str, d: str) -> None:
    one, other = SessionId(a, b), SessionId(c, d)

    assert (one.dotted == other.dotted) == (one == other)


def test_two_pairs_can_share_a_joined_form() -> None:
    one, other = SessionId("a-b", "c"), SessionId("a", "b-c")

    assert one != other
    assert one.joined == other.joined == str(one) == "a-b-c"
    assert one.dotted != other.dotted


@pytest.mark.parametrize("dotted", ["ada", "ada.", ".shop", "ada.shop.more", "ada.*", "", "."])
def test_what_is_no_dotted_pair_is_refused(dotted: str) -> None:
    with pytest.raises(BadToken):
        SessionId.parse(dotted)


NAMES = [
    (subjects.session_event(ADA, "ready"), "wa.evt.session.ada.shop-1.ready"),
    (subjects.session_family(ADA), "wa.evt.session.ada.shop-1.>"),
    (subjects.message_event(ADA, "sent"), "wa.evt.message.ada.shop-1.sent"),
    (subjects.message_family(ADA), "wa.evt.message.ada.shop-1.>"),
    (subjects.pool_event("n1", "node_started"), "wa.evt.pool.n1.node_started"),
    (subjects.pool_family("n1"), "wa.evt.pool.n1.>"),
    (subjects.create_command("ada"), "wa.cmd.pool.ada.create"),
    (subjects.session_command(ADA, "stop"), "wa.cmd.session.ada.shop-1.stop"),
    (subjects.session_commands(ADA), "wa.cmd.session.ada.shop-1.>"),
    (subjects.send_command(ADA), "wa.cmd.outbox.ada.shop-1.send"),
    (subjects.ask(ADA, "chats"), "wa.ask.ada.shop-1.chats"),
    (subjects.asks(ADA), "wa.ask.ada.shop-1.*"),
    (subjects.live(ADA, "qr"), "wa.live.ada.shop-1.qr"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_names_are_those_of_the_design(name: str, expected: str) -> None:
    assert name == expected
