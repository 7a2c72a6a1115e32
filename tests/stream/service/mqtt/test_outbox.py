"""What waits to be published is bounded, each kind by its own rule."""

import asyncio
import time

import pytest

from afterview.stream.service.mqtt import outbox as module
from afterview.stream.service.mqtt.outbox import MOST_ANSWERS, MOST_EVENTS, Message, Outbox


def test_of_a_state_the_latest_counts_and_what_is_known_is_not_sent_again() -> None:
    outbox = Outbox()
    outbox.put_state("a", b"1")
    outbox.put_state("b", b"1")
    outbox.put_state("a", b"2")
    assert [(message.topic, message.payload, message.retain) for message in outbox.take(9)] == [
        ("a", b"2", True),
        ("b", b"1", True),
    ]
    outbox.put_state("a", b"2")
    assert outbox.take(9) == []
    outbox.put_state("a", b"3")
    outbox.put_state("a", b"2")  # as it is at the broker
    assert outbox.take(9) == []
    outbox.forget_sent("a")
    outbox.put_state("a", b"2")
    outbox.put_state("b", b"1")
    assert [message.topic for message in outbox.take(9)] == ["a"]


def test_events_give_way_and_answers_are_refused_when_there_are_too_many() -> None:
    outbox = Outbox()
    for number in range(MOST_EVENTS + 3):
        outbox.put_event(Message("event", "e", b"%d" % number))
    for number in range(MOST_ANSWERS + 2):
        outbox.put_answer(Message("answer", "a", b"%d" % number))
    found = outbox.take(10_000)
    assert [message.payload for message in found if message.kind == "answer"] == [
        b"%d" % number for number in range(MOST_ANSWERS)
    ]
    assert next(message.payload for message in found if message.kind == "event") == b"3"
    assert outbox.dropped == {"event": 3, "answer": 2}


def test_a_broken_connection_costs_events_but_no_answer() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put_answer(Message("answer", "a", b"%d" % number))
    outbox.put_state("s", b"1")
    outbox.put_event(Message("event", "e", b"old"))
    taken = outbox.take(5)
    outbox.put_answer(Message("answer", "a", b"3"))
    outbox.put_event(Message("event", "e", b"new"))
    outbox.unsent(taken)
    outbox.begin()
    outbox.put_state("s", b"1")  # a new connection is told everything
    assert [message.payload for message in outbox.take(9)] == [b"0", b"1", b"2", b"3", b"1"]
    assert outbox.dropped == {"event": 2}


def test_an_answer_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox()
    outbox.put_answer(Message("answer", "a", b"late", made=time.monotonic() - module.ANSWER_LASTS_S - 1))
    assert outbox.take(1) == []
    assert outbox.dropped == {"answer": 1}


async def test_waiting_ends_when_there_is_something() -> None:
    outbox = Outbox()
    waiting = asyncio.ensure_future(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put_state("a", b"1")
    await asyncio.wait_for(waiting, 5)


async def test_errors_do_not_wait_behind_answers() -> None:
    outbox = Outbox()
    outbox.put_answer(Message("answer", "a", b"answer"))
    outbox.put_answer(Message("answer", "a", b"error", 0))
    await asyncio.wait_for(outbox.wait_for_errors(), 5)
    taken = outbox.take_errors(9)
    assert [message.payload for message in taken] == [b"error"]
    assert [message.payload for message in outbox.take(9)] == [b"answer"]
    outbox.unsent(taken)
    assert outbox.take(9) == []
    assert outbox.take_errors(9) == taken
