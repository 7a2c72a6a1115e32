"""Questions that a model server of the user's own answers: what it is sent, what becomes of its words, and what it is never asked."""

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.errors import NoLongerRemembered, NothingRecorded
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.own_model.answerer import OwnModelAnswerer
from afterview.stream.ask.own_model.server import ModelServer as Server
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ask.saved_answers import open_saved, save
from afterview.stream.errors import Cancelled
from tests.support.memory_world import START, make_spec
from tests.support.model_server import MODEL, Chat, ModelServer, model_server
from tests.support.pictured import SIZE, MadeEncoders, record_pictured

FRAMES = 200


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    path = tmp_path_factory.mktemp("memory")
    record_pictured(path, "door", FRAMES, zone="Europe/Berlin")
    return Memory(path)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def asking(memory: Memory, server: ModelServer, *, like: int = 0, **settings: Any) -> OwnModelAnswerer:
    settings = {"model": MODEL, "connect_s": 2.0, "first_token_s": 2.0, "timeout_s": 10.0, **settings}
    return OwnModelAnswerer(memory, MadeEncoders(like), Server(server.url, **settings))  # type: ignore[arg-type]


def test_frames_are_sent_in_order_of_time_each_with_its_camera_and_time(memory: Memory, server: ModelServer) -> None:
    answer = asking(memory, server, frames=6).ask(Question("Where is it brightest?"))
    (chat,) = server.chats
    info = memory.camera("door").info
    shown = [round(one.gray) for one in chat.frames]
    assert shown == sorted(set(shown))
    assert len(shown) == 6
    labels = [f"Frame {place}, camera door, {info.show(START + gray)}:" for place, gray in enumerate(shown, 1)]
    assert [one.label for one in chat.frames] == labels
    assert chat.question.endswith("Question: Where is it brightest?")
    assert (
        f"200 frames from {info.show(START)} to {info.show(START + FRAMES - 1)}; 6 of them are shown" in chat.question
    )
    assert answer.parts[0].provenance["sent"] == {
        "left_machine": False, "frames": 6, "bytes": chat.size, "requests": 1, "image_size": 512, "frame_ids": shown,
    }  # fmt: skip


def test_the_index_chooses_frames_and_the_rest_is_spread_over_the_span(memory: Memory, server: ModelServer) -> None:
    asking(memory, server, like=137, frames=6).ask(Question("What is there?"))
    shown = [round(one.gray) for one in server.chats[0].frames]
    assert 137 in shown
    assert FRAMES - 1 in shown  # the newest
    assert max(later - earlier for earlier, later in pairwise(shown)) < FRAMES // 2


def test_a_short_span_is_sent_whole_and_only_that(memory: Memory, server: ModelServer) -> None:
    asked = Question("What is there?", start=START + 10, at=START + 14)
    answer = asking(memory, server, frames=8).ask(asked)
    assert [round(one.gray) for one in server.chats[0].frames] == [10, 11, 12, 13, 14]
    (coverage,) = answer.coverage
    assert (coverage.frames, coverage.recalled, coverage.recall, coverage.search) == (5, 5, "full", "none")
    assert coverage.last_time == START + 14
    assert "5 frames from" in server.chats[0].question
    assert "all of them are shown" in server.chats[0].question


@pytest.mark.parametrize(("size", "sent"), [(512, SIZE), (60, (80, 60))])
def test_pictures_have_the_configured_size_and_are_never_enlarged(
    memory: Memory, server: ModelServer, size: int, sent: tuple[int, int]
) -> None:
    asking(memory, server, frames=3, image_size=size).ask(Question("What is there?"))
    assert {one.size for one in server.chats[0].frames} == {sent}


def test_the_answer_is_the_servers_with_the_frames_that_it_cites_first(memory: Memory, server: ModelServer) -> None:
    pieces: list[str] = []
    answer = asking(memory, server, frames=5).ask(Question("Is it bright?"), on_text=pieces.append)
    chat = server.chats[0]
    assert "".join(pieces) == answer.text == f"CONFIRMED: the picture is brightest in [5], {chat.frames[-1].label}"
    first, *others = answer.evidence
    assert (first.frame, first.weight) == (FRAMES - 1, 1.0)
    assert [one.weight for one in others] == [0.0] * 4
    assert sorted(one.frame for one in answer.evidence) == [round(one.gray) for one in chat.frames]
    part = answer.parts[0]
    assert part.provenance["answered_by"] == {"host": server.host, "model": MODEL, "reported_model": MODEL}
    assert part.provenance["cited"] == [5]
    assert part.provenance["verdict"] == {
        "verdict": "confirmed", "reason": f"the picture is brightest in [5], {chat.frames[-1].label}"
    }  # fmt: skip
    size = f"{round(chat.size / 1e3)} kB"
    assert (
        answer.notice
        == f"answered by {MODEL} at {server.host}, an address of this machine, which was sent 5 frames ({size})"
    )
    assert set(part.timing) == {"recall_s", "first_token_s", "total_s"}


def test_frames_are_cited_by_time_too_and_foreign_numbers_are_said(memory: Memory, server: ModelServer) -> None:
    info = memory.camera("door").info
    server.answers = lambda chat: f"A bird at {info.show_clock(START + 3)}, see frames 1 and 77."
    answer = asking(memory, server).ask(Question("What is there?", start=START, at=START + 4))
    assert [one.frame for one in answer.evidence] == [3, 0, 1, 2, 4]
    assert answer.parts[0].provenance["cited_unknown"] == [77]
    assert "frames that it was not shown: 77" in str(answer.notice)


def test_what_was_not_recorded_is_never_left_to_the_model(memory: Memory, server: ModelServer) -> None:
    with pytest.raises(NothingRecorded, match="nothing was recorded before"):
        asking(memory, server).ask(Question("What was there?", at=START - 100))
    assert server.paths == []


def test_what_is_no_longer_remembered_is_never_left_to_the_model(tmp_path: Path, server: ModelServer) -> None:
    record_pictured(tmp_path, "door", 60)
    with open_camera(tmp_path, "door", make_spec()) as repository:
        repository.forget(START + 10, START + 30)
    with pytest.raises(NoLongerRemembered):
        asking(Memory(tmp_path), server).ask(Question("What was there?", start=START + 12, at=START + 20))
    assert server.paths == []
    asking(Memory(tmp_path), server, frames=60).ask(Question("What was there?"))
    assert not {round(one.gray) for one in server.chats[0].frames} & set(range(10, 30))


def test_each_camera_is_asked_about_its_own_frames(tmp_path: Path, server: ModelServer) -> None:
    record_pictured(tmp_path, "door", 4)
    record_pictured(tmp_path, "yard", 3, start=START + 100)
    pieces: list[str] = []
    answer = asking(Memory(tmp_path), server).ask(Question("What is there?"), on_text=pieces.append)
    assert [[round(one.gray) for one in chat.frames] for chat in server.chats] == [[0, 1, 2, 3], [0, 1, 2]]
    assert ["yard" in one.label for one in server.chats[1].frames] == [True] * 3
    assert [part.coverage.camera for part in answer.parts] == ["door", "yard"]
    assert "".join(pieces) == answer.text
    sent = sum(chat.size for chat in server.chats)
    assert f"7 frames ({round(sent / 1e3)} kB)" in str(answer.notice)


def test_what_is_forgotten_while_another_camera_is_answered_is_not_sent(tmp_path: Path, server: ModelServer) -> None:
    record_pictured(tmp_path, "door", 4)
    record_pictured(tmp_path, "yard", 60)

    def forget(chat: Chat) -> str:
        if "door" in chat.frames[0].label:
            with open_camera(tmp_path, "yard", make_spec()) as repository:
                repository.forget(START + 10, START + 30)
        return "Nothing."

    server.answers = forget
    asking(Memory(tmp_path), server, frames=60).ask(Question("What is there?"))
    assert "yard" in server.chats[1].frames[0].label
    assert not {round(one.gray) for one in server.chats[1].frames} & set(range(10, 30))


def test_an_answer_is_saved_and_opened_again_unchanged(tmp_path: Path, server: ModelServer) -> None:
    record_pictured(tmp_path, "door", 4)
    memory, question = Memory(tmp_path), Question("Is it bright?")
    answer = asking(memory, server).ask(question)
    record = AnswerRecord.of(answer, question, asked=START, memory=tmp_path, cameras=_infos(memory), version="test")
    saved = save(record, tmp_path)
    assert saved.directory is not None
    opened, _ = open_saved(saved.directory)
    assert isinstance(opened, AnswerRecord)
    assert json.dumps(opened.answer.to_dict(), sort_keys=True) == json.dumps(answer.to_dict(), sort_keys=True)
    assert opened.answer.notice == answer.notice


def test_forget_erases_the_reason_of_a_verdict_with_the_text(tmp_path: Path, server: ModelServer) -> None:
    record_pictured(tmp_path, "door", 4)
    memory, question = Memory(tmp_path), Question("Is there a burglar?")
    server.answers = lambda chat: "CONFIRMED: the burglar wears a red hat in [2]."
    record = AnswerRecord.of(
        asking(memory, server).ask(question),
        question,
        asked=START,
        memory=tmp_path,
        cameras=_infos(memory),
        version="test",
    )
    saved = save(record, tmp_path)
    assert saved.directory is not None
    with open_camera(tmp_path, "door", make_spec()) as repository:
        repository.forget(START + 1, START + 1.5)
    for path in saved.directory.iterdir():
        assert b"red hat" not in path.read_bytes()
    opened, _ = open_saved(saved.directory)
    assert isinstance(opened, AnswerRecord)
    assert opened.answer.parts[0].provenance["verdict"] is None


def _infos(memory: Memory) -> dict[str, CameraInfo]:
    return {reader.info.id: reader.info for reader in memory.cameras()}


def test_what_the_protocol_does_not_have_is_not_sent_and_said(memory: Memory, server: ModelServer) -> None:
    asked = Question("What is there?", seed=7, temperature=0.5, top_p=0.9, top_k=4, stop=("END",), max_new_tokens=33)
    answer = asking(memory, server).ask(asked)
    body = server.chats[0].body
    expected = {"seed": 7, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "max_tokens": 33, "stream": True}
    assert {name: body[name] for name in expected} == expected
    assert "top_k" not in body
    assert "top_k not sent" in str(answer.notice)


def test_the_only_model_of_a_server_needs_no_name(memory: Memory, server: ModelServer) -> None:
    answer = asking(memory, server, model=None).ask(Question("What is there?"))
    assert answer.parts[0].provenance["model"] == MODEL
    assert server.chats[0].body["model"] == MODEL


def test_a_question_that_is_cancelled_leaves_the_server(memory: Memory, server: ModelServer) -> None:
    server.wrong.pieces, server.wrong.stall_after, server.wrong.stall_stream_s = ["one ", "two "], 1, 0.3
    cancel, failures = threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            asking(memory, server).ask(Question("What?"), cancel=cancel, on_text=lambda _: cancel.set())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(2.0)
    assert not thread.is_alive()
    assert isinstance(failures[0], Cancelled)
    assert server.gone.wait(3.0)


def answered(memory: Memory, server: ModelServer, words: str, **settings: Any) -> tuple[Answer, Chat]:
    server.answers = lambda chat: words
    answer = asking(memory, server, **settings).ask(Question("Is there a bird?"))
    return answer, server.chats[-1]


@pytest.mark.parametrize(
    ("words", "verdict", "reason"),
    [
        ("CONFIRMED: a bird sits in [2].", "confirmed", "a bird sits in [2]."),
        ("**Rejected** - nothing but a wall.", "rejected", "nothing but a wall."),
        ("UNVERIFIED: too dark", "unverified", "too dark"),
        ("Yes, in [1].", "confirmed", "in [1]."),
        ("No.", "rejected", "the model gave no reason"),
        ("Not confirmed: it may be a leaf", "unverified", "it may be a leaf"),
        ("A bird, perhaps.", "unverified", "the model did not say yes or no"),
        ("CONFIRMED: or rather REJECTED", "unverified", "the model said both confirmed and rejected"),
        ("No frame shows the roof.", "unverified", "the model did not say yes or no"),
        ("Nothing is there", "unverified", "the model did not say yes or no"),
    ],
)
def test_a_question_of_yes_or_no_gets_a_verdict(
    memory: Memory, server: ModelServer, words: str, verdict: str, reason: str
) -> None:
    answer, chat = answered(memory, server, words)
    assert answer.parts[0].provenance["verdict"] == {"verdict": verdict, "reason": reason}
    assert answer.text == words
    assert "CONFIRMED" in chat.body["messages"][0]["content"]
