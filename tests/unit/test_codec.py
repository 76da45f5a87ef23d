"""Bytes and events: what was ever written can be read, and nothing else does harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events import asks, codec, message
from events import session_events as e
from events.codec import Undecodable
from events.envelope import Envelope, Payload, new_id
from events.message import Received
from tests.golden import write

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
GOLDEN = sorted(write.HERE.glob("*.json"))
SAMPLES = {codec.type_of(sample): sample for sample in write.SAMPLES}


def sealed(payload: Payload, **more: str | int) -> Envelope:
    return codec.seal(payload, subject="ada.shop", source="wa/node/n1", at=NOW, **more)  # type: ignore[arg-type]


def wire(**changes: object) -> bytes:
    """A sound envelope on the wire, with fields changed, or left out where None."""
    held = json.loads(codec.encode(sealed(e.Queued(reason="start")))) | changes
    return json.dumps({name: value for name, value in held.items() if value is not None}).encode()


# --- golden files -----------------------------------------------------------------------


@pytest.mark.parametrize("type_name", codec.catalogue())
def test_every_type_of_today_has_a_golden_file(type_name: str) -> None:
    assert write.path_of(type_name).is_file(), "write it: python -m tests.golden.write"


def test_every_type_of_today_has_a_sample_with_all_its_fields_set() -> None:
    assert set(SAMPLES) == set(codec.catalogue())
    for name, sample in SAMPLES.items():
        defaults = {
            field: held.default
            for field, held in type(sample).model_fields.items()
            if not held.is_required()
        }
        unset = [field for field, value in defaults.items() if getattr(sample, field) == value]
        assert not unset, f"{name}: {unset}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_file_decodes_for_ever(path: Path) -> None:
    envelope = codec.decode(path.read_bytes())

    payload = codec.payload_of(envelope)

    assert envelope.type == path.stem
    assert codec.type_of(payload).rsplit(".", 1)[0] == path.stem.rsplit(".", 1)[0]
    assert envelope.time == write.AT
    assert (envelope.causationid, envelope.node, envelope.version) == ("c0ffee", "n1", 42)


@pytest.mark.parametrize(
    "path",
    [path for path in GOLDEN if path.stem in codec.catalogue()],
    ids=lambda path: path.stem,
)
def test_no_field_of_a_golden_file_is_lost_without_a_new_version(path: Path) -> None:
    # Unknown fields are ignored, so a renamed one would vanish without a sound.
    envelope = codec.decode(path.read_bytes())

    read = codec.payload_of(envelope).model_dump(mode="json")

    assert _holds(read, envelope.data)


@pytest.mark.parametrize("word", write.SHAPES)
def test_every_shape_of_a_send_has_a_golden_file_that_decodes_for_ever(word: str) -> None:
    envelope = codec.decode(write.shape_of(word).read_bytes())

    payload = codec.payload_of(envelope)

    assert payload == write.SHAPES[word]
    assert _holds(payload.model_dump(mode="json"), envelope.data)


def test_a_send_of_nothing_is_refused() -> None:
    empty = sealed(message.Send(message="m", to="1@c.us", body="x", deadline=NOW))
    said = empty.model_copy(update={"data": empty.data | {"body": ""}})

    with pytest.raises(Undecodable):
        codec.payload_of(said)


def _holds(read: object, written: object) -> bool:
    if isinstance(read, dict) and isinstance(written, dict):
        return all(name in read and _holds(read[name], written[name]) for name in written)
    return read == written


def test_the_script_writes_what_is_missing_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "HERE", tmp_path)
    kept = tmp_path / "wa.session.ready.v1.json"
    kept.write_text("kept")

    write.main()

    assert kept.read_text() == "kept"
    assert {path.stem for path in tmp_path.glob("*.json")} == set(codec.catalogue())


# --- there and back ---------------------------------------------------------------------


@pytest.mark.parametrize("type_name", SAMPLES)
def test_what_is_written_comes_back(type_name: str) -> None:
    sample = SAMPLES[type_name]

    envelope = codec.decode(write.envelope_of(sample))

    assert envelope.type == type_name
    assert codec.payload_of(envelope) == sample


@pytest.mark.parametrize("type_name", SAMPLES)
def test_what_is_written_is_a_cloudevent(type_name: str) -> None:
    raw = write.envelope_of(SAMPLES[type_name])

    event = JSONFormat().read(CloudEvent, raw)

    assert event.get_specversion() == "1.0"
    assert event.get_type() == type_name
    assert (event.get_source(), event.get_subject()) == ("wa/node/n1", "ada.shop")
    assert event.get_time() == write.AT
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("causationid") == "c0ffee"
    assert event.get_data() == SAMPLES[type_name].model_dump(mode="json")


def test_absent_extensions_are_absent_on_the_wire() -> None:
    written = json.loads(codec.encode(sealed(e.Stop())))

    assert not {"causationid", "node", "version"} & set(written)
    assert JSONFormat().read(CloudEvent, codec.encode(sealed(e.Stop())))


def test_an_event_id_is_minted_unless_one_is_given() -> None:
    assert sealed(e.Stop()).id != sealed(e.Stop()).id
    assert sealed(e.Stop(), event_id="mine").id == "mine"
    assert len({new_id() for _ in range(100)}) == 100


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
@example("half an emoji \ud83d", NOW)
@example("\udc00\ud83d the wrong way round", NOW)
@example("\ufeff\0\n", NOW)
@example("a time zone", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-11, minutes=30))))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_and_any_time_a_page_may_tell_of_survives_the_wire(
    body: str, at: datetime
) -> None:
    received = Received(wa_id="W", key="K", chat="C", sender="S", body=body, at=at)

    back = codec.payload_of(codec.decode(codec.encode(sealed(received))))

    assert isinstance(back, Received)
    assert back.body == received.body
    assert back.at == at
    if body.isprintable():
        assert back.body == body


def test_what_utf8_cannot_carry_is_marked_as_lost() -> None:
    received = Received(wa_id="W", key="K", chat="C", sender="S", body="x\ud83d", at=NOW)

    assert received.body == "x\ufffd"


# --- what others wrote --------------------------------------------------------------------


def test_unknown_fields_are_tolerated_everywhere() -> None:
    raw = wire(traceparent="00-1-2-3", data={"reason": "start", "colour": "blue", "deep": [{}]})

    assert codec.payload_of(codec.decode(raw)) == e.Queued(reason="start")


def test_a_field_that_came_later_has_its_default() -> None:
    assert codec.payload_of(codec.decode(wire(data={"reason": "start"}))) == e.Queued(
        reason="start", fresh=False
    )


ENVELOPES: dict[str, bytes] = {
    "nothing": b"",
    "no json": b"ready",
    "no utf-8": b"\xff\xfe",
    "half an emoji": wire(id="x").replace(b'"x"', b'"\\ud83d"'),
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "too deep": b'{"data":' + b"[" * 100_000,
    "cut off": wire()[:-2],
    "other specversion": wire(specversion="0.3"),
    "no id": wire(id=None),
    "empty id": wire(id=""),
    "empty source": wire(source=""),
    "empty type": wire(type=""),
    "number as type": wire(type=7),
    "no time": wire(time=None),
    "no such time": wire(time="yesterday"),
    "time without a zone": wire(time="2026-01-01T12:00:00"),
    "no subject": wire(subject=None),
    "no data": wire(data=None),
    "data is a list": wire(data=[]),
    "data is text": wire(data="{}"),
    "other content": wire(datacontenttype="text/plain"),
    "version is a word": wire(version="one"),
    "version beyond counting": wire().replace(b'"id"', b'"version":' + b"9" * 5_000 + b',"id"'),
}


@pytest.mark.parametrize("word", ENVELOPES)
def test_what_is_no_envelope_is_undecodable(word: str) -> None:
    with pytest.raises(Undecodable, match="not a CloudEvent"):
        codec.decode(ENVELOPES[word])


TYPES = {
    "unknown kind": "wa.session.vanished.v1",
    "unknown family": "wa.weather.ready.v1",
    "kind of another family": "wa.message.ready.v1",
    "version of the future": f"wa.session.queued.v{codec.CURRENT + 1}",
    "version 0": "wa.session.queued.v0",
    "version with a zero": "wa.session.queued.v01",
    "negative version": "wa.session.queued.v-1",
    "version of another script": "wa.session.queued.v१",
    "endless version": "wa.session.queued.v" + "9" * 5_000,
    "no version": "wa.session.queued",
    "upper case": "wa.session.Queued.v1",
    "not ours": "com.example.queued.v1",
    "more behind": "wa.session.queued.v1.x",
    "newline behind": "wa.session.queued.v1\n",
    "space before": " wa.session.queued.v1",
}


@pytest.mark.parametrize("word", TYPES)
def test_an_unknown_type_or_version_is_undecodable(word: str) -> None:
    envelope = codec.decode(wire(type=TYPES[word]))

    with pytest.raises(Undecodable, match="unknown type") as refused:
        codec.payload_of(envelope)

    assert len(str(refused.value)) < 120


SEND = {"message": "m", "to": "1@c.us", "body": "b", "deadline": "2026-01-01T00:00:00Z"}
BAD_SENDS = {
    "no message": {"message": None},
    "empty message": {"message": ""},
    "long message": {"message": "m" * 129},
    "number as message": {"message": 7},
    "bare number": {"to": "491701234567"},
    "other server": {"to": "1@s.whatsapp.net"},
    "newline behind": {"to": "1@c.us\n"},
    "injection": {"to": "1'); drop@c.us"},
    "two servers": {"to": "1@c.us@c.us"},
    "empty body": {"body": ""},
    "body too long": {"body": "b" * 65_537},
    "no such deadline": {"deadline": "soon"},
    "deadline without a zone": {"deadline": "2026-01-01T00:00:00"},
    "no deadline": {"deadline": None},
}


@pytest.mark.parametrize("word", BAD_SENDS)
def test_a_bad_send_is_undecodable_and_its_field_is_named(word: str) -> None:
    [field] = BAD_SENDS[word]
    data = {name: value for name, value in (SEND | BAD_SENDS[word]).items() if value is not None}

    with pytest.raises(Undecodable, match=rf"^wa\.command\.send\.v1: bad or missing {field}$"):
        codec.payload_of(codec.decode(wire(type="wa.command.send.v1", data=data)))


def test_what_is_undecodable_is_said_without_its_content() -> None:
    data = SEND | {"to": "secret@nowhere", "body": ""}

    with pytest.raises(Undecodable) as refused:
        codec.payload_of(codec.decode(wire(type="wa.command.send.v1", data=data)))

    assert "secret" not in str(refused.value)


# --- fuzz ----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({name for cls in codec.catalogue().values() for name in cls.model_fields})
TYPE_NAMES = st.sampled_from(sorted(codec.catalogue())) | st.text(max_size=40)


def _read(raw: bytes) -> None:
    """Read as far as it goes; whatever is wrong must come as Undecodable."""
    try:
        envelope = codec.decode(raw)
        codec.encode(envelope)
        payload = codec.payload_of(envelope)
    except Undecodable:
        return
    codec.encode(sealed(payload))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_bytes_do_no_harm(raw: bytes) -> None:
    _read(raw)


@given(JSON)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_json_does_no_harm(value: object) -> None:
    _read(json.dumps(value).encode())


@given(TYPE_NAMES, st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_payloads_of_any_shape_do_no_harm(type_name: str, data: dict[str, object]) -> None:
    _read(wire(type=type_name, data=data))


@given(
    st.sampled_from(sorted(SAMPLES)),
    st.dictionaries(
        st.sampled_from(("id", "source", "type", "subject", "time", "data", "version", "node")),
        JSON,
        max_size=3,
    ),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_envelopes_with_fields_exchanged_do_no_harm(
    type_name: str, changes: dict[str, object]
) -> None:
    _read(json.dumps(json.loads(write.envelope_of(SAMPLES[type_name])) | changes).encode())


# --- older versions ---------------------------------------------------------------------------


def test_what_an_earlier_version_wrote_is_brought_up_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "CURRENT", 3)
    monkeypatch.setattr(
        codec,
        "UPCASTERS",
        {
            "wa.session.queued.v1": lambda data: {"why": data["cause"]},
            "wa.session.queued.v2": lambda data: {"reason": data["why"]},
        },
    )

    first = codec.decode(wire(type="wa.session.queued.v1", data={"cause": "start"}))
    second = codec.decode(wire(type="wa.session.queued.v2", data={"why": "start"}))
    third = codec.decode(wire(type="wa.session.queued.v3", data={"reason": "start"}))

    assert [codec.payload_of(one) for one in (first, second, third)] == [
        e.Queued(reason="start")
    ] * 3


# --- answers ------------------------------------------------------------------------------------


def test_an_answer_has_data_or_an_error() -> None:
    data = asks.Answer.model_validate_json(codec.answer({"code": "2@x"}))
    error = asks.Answer.model_validate_json(codec.answer_error("no_code", "none is shown", 404))

    assert (data.data, data.error) == ({"code": "2@x"}, None)
    assert error.data is None
    assert error.error == asks.AskError(reason="no_code", detail="none is shown", status=404)


def test_an_ack_is_a_receipt_of_the_catalogue() -> None:
    assert {cls.kind: ack for ack, cls in message.RECEIPTS.items()} == {
        kind: ack for kind, ack in message.ACK_OF.items() if kind != "sent"
    }
