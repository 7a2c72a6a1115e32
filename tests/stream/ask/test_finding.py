"""A model that only finds frames: what it says, of what, and what an opened answer says of its evidence."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.configs import UsageError
from afterview.memory.base.errors import NothingRecorded, SpecMismatch, StoreUnreachable, UnreachableOnStore
from afterview.memory.directory import Memory
from afterview.memory.index import frame_index
from afterview.memory.index.frame_index import FrameIndex
from afterview.model.checkpoint.finding import FindingModel
from afterview.stream.ask.answer_record import AnswerRecord, opened
from afterview.stream.ask.finding import FindingAnswerer, answerer_for
from afterview.stream.ask.question import Question
from afterview.stream.ask.subtitles import Subtitle
from afterview.stream.errors import Cancelled
from tests.support.memory_world import START, make_spec
from tests.support.pictured import record_pictured
from tests.support.siglip2 import write_search_preset


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FindingModel:
    from afterview.model.checkpoint.for_questions import load_for_questions

    found = load_for_questions(write_search_preset(tmp_path_factory.mktemp("search")), device="cpu")
    assert isinstance(found, FindingModel)
    return found


@pytest.fixture(scope="module")
def recorded(model: FindingModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("memory")
    record_pictured(memory, "back", 90, model.encoders.feature_spec)
    record_pictured(memory, "front", 40, model.encoders.feature_spec, start=START + 30)
    record_pictured(memory, "other", 5, make_spec())
    return memory


@pytest.fixture
def memory(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "memory"))


@pytest.fixture
def answerer(memory: Path, model: FindingModel) -> FindingAnswerer:
    found = answerer_for(Memory(memory), model)
    assert isinstance(found, FindingAnswerer)
    return found


def best(answerer: FindingAnswerer, text: str, camera: str, end: int) -> list[int]:
    """Frames below `end`, best first, by comparing each."""
    snapshot = answerer.memory.camera(camera).snapshot()
    query = answerer.model.encoders.index.encode_texts([text])[0]
    scores = snapshot.embeddings(snapshot.ids[:end]) @ query
    return [int(row) for row in np.argsort(-scores, kind="stable")]


def test_it_shows_the_best_frames_of_each_camera_and_says_that_it_does_not_answer(answerer: FindingAnswerer) -> None:
    texts: list[str] = []
    question = Question("Was a red car there?", at=START + 59, evidence=4, temperature=0.5)
    answer = answerer.ask(question, on_text=texts.append)
    assert "".join(texts) == answer.text
    assert answer.finds_only
    assert answer.evidence_kind == "index"
    assert [part.coverage.camera for part in answer.parts] == ["back", "front"]
    assert "its features were made by 'made-up'" in answer.skipped["other"]
    assert answer.notice is not None
    assert "--answer-with URL" in answer.notice
    assert "temperature not used" in answer.notice
    for part, frames in zip(answer.parts, (60, 30), strict=True):
        assert "This model finds frames and does not answer" in part.text
        assert part.coverage.frames == frames
        assert part.coverage.last_time == START + 59
        own = [item.frame for item in part.evidence]
        assert own[0] == best(answerer, question.text, part.coverage.camera, frames)[0]
        assert len(own) == len(set(own)) == 4
        assert max(own) < frames  # nothing later than the moment that is asked about
        weights = [item.weight for item in part.evidence]
        assert weights == sorted(weights, reverse=True)
        assert part.evidence[0].image
        assert part.provenance["verdict"] == {
            "verdict": "unverified", "reason": "this model finds frames and does not answer",
        }  # fmt: skip
        assert part.tokens is None
    scores = [item.shown_weight for item in answer.evidence]
    assert scores == sorted(scores, reverse=True)  # of both cameras: scores compare


def test_a_question_that_is_not_of_yes_or_no_has_no_verdict_and_may_ask_for_no_frames(
    answerer: FindingAnswerer,
) -> None:
    answer = answerer.ask(Question("Describe what you see", ("front",), evidence=0))
    assert answer.evidence == []
    assert answer.text.startswith("Best frames: ")
    assert answer.parts[0].provenance["verdict"] is None


def test_what_cannot_be_answered_raises_as_for_any_model(answerer: FindingAnswerer) -> None:
    with pytest.raises(NothingRecorded, match="nothing was recorded before"):
        answerer.ask(Question("What?", at=START - 1))
    with pytest.raises(SpecMismatch, match=r"made by 'made-up'.*`reembed`"):
        answerer.ask(Question("What?", ("other",)))
    with pytest.raises(UsageError, match="subtitles: this model finds frames and reads no subtitles"):
        answerer.ask(Question("What?", ("back",), subtitles=(Subtitle(START, START + 2, "Hello"),)))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        answerer.ask(Question("What?"), cancel=cancel)


def test_an_index_that_is_gone_is_made_anew_and_the_same_frames_are_found(
    memory: Path, model: FindingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_index, "SMALL", 16)  # frames of the smallest segment that is written
    answerer, question = answerer_for(Memory(memory), model), Question("Was a red car there?", ("back",))
    before = [item.frame for item in answerer.ask(question).evidence]
    for damage in (
        shutil.rmtree,
        lambda path: [file.write_bytes(b"damaged") for file in path.rglob("*") if file.is_file()],
    ):
        damage(memory / "back" / "index")
        again = answerer_for(Memory(memory), model).ask(question)
        assert [item.frame for item in again.evidence] == before


def test_frames_out_of_reach_are_said(answerer: FindingAnswerer, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(index: FrameIndex, snapshot: Any, *, save: bool = True) -> None:
        raise UnreachableOnStore("s3://b does not answer", snapshot.ids)

    monkeypatch.setattr(FrameIndex, "catch_up", silent)
    with pytest.raises(StoreUnreachable, match=r"none of its 40 frames in that span can be compared.*s3://b"):
        answerer.ask(Question("What?", ("front",)))
    monkeypatch.undo()
    answerer.ask(Question("What?", ("front",)))
    monkeypatch.setattr(FrameIndex, "catch_up", silent)
    answer = answerer.ask(Question("What?", ("front",)))
    assert answer.evidence
    assert answer.notice is not None
    assert "front: only frames that were indexed before are compared: s3://b does not answer" in answer.notice


def test_a_saved_answer_keeps_the_kind_of_its_evidence_and_an_older_one_opens_without(
    answerer: FindingAnswerer, memory: Path
) -> None:
    question = Question("What?", ("front",))
    answer = answerer.ask(question)
    infos = {"front": answerer.memory.camera("front").info}
    record = AnswerRecord.of(answer, question, asked=START, memory=memory, cameras=infos, version="1")
    about, parts = json.loads(json.dumps(record.documents()))
    again = opened("here", about, parts, lambda camera, frame: b"")
    assert isinstance(again, AnswerRecord)
    assert again.to_dict({}) == {**record.to_dict({}), "evidence": again.to_dict({})["evidence"]}
    del about["finds_only"], parts["front"]["evidence_kind"]
    older = opened("here", about, parts, lambda camera, frame: b"")
    assert isinstance(older, AnswerRecord)
    assert (older.answer.evidence_kind, older.answer.finds_only) == (None, False)
    parts["front"]["provenance"]["answered_by"] = {"host": "h"}
    own_model = opened("here", about, parts, lambda camera, frame: b"")
    assert isinstance(own_model, AnswerRecord)
    assert own_model.answer.evidence_kind == "index"
