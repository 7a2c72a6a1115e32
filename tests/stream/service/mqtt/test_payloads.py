"""What comes by MQTT may be anything: it is read, or refused with a sentence."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from afterview.configs import UsageError
from afterview.stream.service.asked import Ask
from afterview.stream.service.events import Event
from afterview.stream.service.mqtt.payloads import (
    LARGEST_QUESTION,
    Asked,
    as_json,
    attributes,
    last_answer,
    question_id,
    read_own,
    read_question,
    read_switch,
    shown_event,
)

BOMB = b'{"question":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
KEYS = [
    "question",
    "cameras",
    "start",
    "at",
    "last",
    "follows",
    "seed",
    "evidence",
    "id",
    "stop",
    "max_tokens",
    "stream",
    "subtitles",
]


def refused(payload: bytes) -> str:
    """Why a question is refused; nothing if it is not. Any other exception is a fault."""
    try:
        read_question(payload)
    except UsageError as error:
        return str(error) or "without a word"
    return ""


@given(st.binary(max_size=400))
@example(BOMB)
@example(b'{"question": "' + b"9" * 20_000 + b'"}')
@example(b'{"seed": ' + b"9" * 6000 + b"}")
@example(b'{"question": "a", "temperature": NaN}')
@example(b'{"question": "\\ud800"}')
@example(b"\xff\xfe")
@example(b"\0")
def test_any_bytes_are_a_question_or_refused(payload: bytes) -> None:
    asked = refused(payload) or read_question(payload)
    if isinstance(asked, Asked):
        assert asked.ask.text
    else:
        assert len(asked) < 500
    question_id(payload)
    for read in (read_own, read_switch):
        try:
            read(payload)
        except UsageError:
            pass


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES, max_size=6))
def test_any_object_is_a_question_or_refused(values: dict[str, Any]) -> None:
    payload = json.dumps(values).encode()
    if not refused(payload):
        assert read_question(payload).ask.text == values["question"]


def test_questions() -> None:
    assert read_question(b" Who was at the door?\n").ask.text == "Who was at the door?"
    assert read_question(b"[1]").ask.text == "[1]"
    asked = read_question(
        b'{"question": "Who?", "cameras": ["hall"], "last": "2h", "id": "7", "max_tokens": 9, "stop": ["x"]}'
    )
    assert asked.id == "7"
    more = dict.fromkeys(("temperature", "top_p", "top_k", "repetition_penalty")) | {"seed": 0, "evidence": 8}
    more |= {"max_new_tokens": 9, "stop": ("x",)}
    assert asked.ask == Ask("Who?", ("hall",), None, None, "2h", None, more)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "the question is empty"),
        (b"  ", "the question is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * (LARGEST_QUESTION + 1), "more than 32768 bytes"),
        (b"x" * 5000, "a question has at most"),
        (b'{"question": ', "not JSON"),
        (BOMB, "not JSON"),
        (b'{"question": "a", "temperature": Infinity}', "not JSON"),
        (b"{}", "question: is missing"),
        (b'{"question": "a", "camera": "b"}', "camera: unknown key"),
        (b'{"question": "a", "stream": true}', "answers by MQTT come as a whole"),
        (b'{"question": "a", "seed": -1}', "seed: must be at least 0"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(payload: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_question(payload)


def test_a_refused_question_keeps_its_id() -> None:
    assert question_id(b'{"question": 1, "id": "7"}') == "7"
    assert question_id(b'{"id": 7}') is None
    assert question_id(b'{"id": "\\ud800"}') is None
    assert question_id(b"7") is None


def test_switches() -> None:
    assert [read_switch(text) for text in (b"ON", b"on\n", b"true", b"1")] == [True] * 4
    assert [read_switch(text) for text in (b"OFF", b"False", b"0")] == [False] * 3
    for text in (b"", b"maybe", b"\xff", b"ON" * 100):
        with pytest.raises(UsageError):
            read_switch(text)


def test_a_state_has_at_most_255_characters() -> None:
    document = {
        "id": "a", "question": "q" * 4000, "answer": "line\n" * 4000, "evidence": [], "cameras": [{"camera": "hall"}] * 100,
        "notes": ["n" * 900] * 99,
    }  # fmt: skip
    found = last_answer(document)
    assert len(found["state"]) == 255
    assert len(found["question"]) == 255
    assert found["state"].startswith("line line ")
    assert len(as_json(found)) < 16_000  # what Home Assistant keeps of attributes
    assert last_answer({"answer": ""})["state"]


def test_attributes_hold_no_address() -> None:
    camera = {"camera": "hall", "name": "hall", "source": "rtsp://h/", "state": "online", "video_streams": [1]}
    found = attributes(camera, "me", {"frame": 3})
    assert found["instance"] == "me"
    assert found["evidence"] == {"frame": 3}
    assert not {"source", "video_streams"} & found.keys()


def test_an_event_of_a_camera_holds_no_address() -> None:
    found = shown_event(
        Event(1, "camera", 2.0, {"camera": "hall", "state": "online", "source": "rtsp://h/", "change": "online"})
    )
    assert found["event_type"] == found["kind"] == "camera"
    assert found["change"] == "online"
    assert "source" not in found
    assert shown_event(Event(1, "model", 2.0, {"state": "ready"})) == {
        "event_type": "model", "number": 1, "kind": "model", "time": 2.0, "state": "ready",
    }  # fmt: skip
