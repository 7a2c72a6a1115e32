"""What answers say about what they could not know: damaged frames, forgotten spans, cameras that were not asked."""

import json
import time
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import NoLongerRemembered, NothingRecorded
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.cameras import MOST_CAMERAS
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.source.address.address import parse_source
from tests.support.memory_world import START, make_frame
from tests.support.servers import wait_until
from tests.support.watching import Recording


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny")


def record(memory: Path, model: AfterviewModel, name: str, count: int, *, late: float = 0.0) -> Path:
    spec = model.encoders.feature_spec
    with open_camera(memory, name, spec) as repository:
        for number in range(count):
            repository.append(make_frame(number, spec, time=START + late + number))
    return memory / repository.info.id


def test_an_answer_goes_on_without_damaged_frames_and_says_how_many(tmp_path: Path, model: AfterviewModel) -> None:
    camera = record(tmp_path, model, "a", 80)
    chunk = camera / "generation-1/tokens/c.1.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    part = Answerer(Memory(tmp_path), model).ask(Question("What now?", ("a",), max_new_tokens=2)).parts[0]
    assert (part.coverage.frames, part.coverage.damaged) == (64, 16)
    assert not {item.frame for item in part.evidence} & set(range(16, 32))
    fsck(camera, repair=True)
    part = Answerer(Memory(tmp_path), model).ask(Question("What now?", ("a",), max_new_tokens=2)).parts[0]
    assert (part.coverage.frames, part.coverage.damaged) == (64, 0)
    assert [gone.reason for gone in part.coverage.removed] == ["damaged"]


def test_forgotten_never_recorded_and_not_recording_are_three_different_answers(
    tmp_path: Path, model: AfterviewModel
) -> None:
    record(tmp_path, model, "a", 200)
    with open_camera(tmp_path, "a", model.encoders.feature_spec) as repository:
        repository.forget(START + 50, START + 99)
    answerer = Answerer(Memory(tmp_path), model)
    with pytest.raises(NoLongerRemembered, match="no longer remembered: 50 frames were forgotten"):
        answerer.ask(Question("What now?", ("a",), start=START + 60, at=START + 80))
    with pytest.raises(NothingRecorded, match="nothing was recorded before") as never:
        answerer.ask(Question("What now?", ("a",), at=START - 60))
    assert not isinstance(never.value, NoLongerRemembered)
    coverage = (
        answerer.ask(Question("What now?", ("a",), start=START, at=START + 149, max_new_tokens=2)).parts[0].coverage
    )
    assert coverage.frames == 100
    assert [(gone.start, gone.stop, gone.frames) for gone in coverage.removed] == [(START + 50, START + 99, 50)]
    early = (
        answerer.ask(Question("What now?", ("a",), start=START - 90, at=START + 9, max_new_tokens=2)).parts[0].coverage
    )
    assert [(gap.start, gap.end, gap.reason) for gap in early.gaps] == [(START - 90, START, "not recording")]
    assert early.removed == ()


def test_frames_that_are_forgotten_while_a_question_reads_them_are_not_in_its_answer(
    tmp_path: Path, model: AfterviewModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, model, "a", 80)
    answerer = Answerer(Memory(tmp_path), model)
    plain, forgotten = answerer._planner.plan_snapshot, []

    def forget_meanwhile(snapshot: MemorySnapshot, question: Question, now: float, cancel: object) -> object:
        if not forgotten:
            with open_camera(tmp_path, "a", model.encoders.feature_spec) as repository:
                forgotten.append(repository.forget(START + 20, START + 39))
        return plain(snapshot, question, now, None)

    monkeypatch.setattr(answerer._planner, "plan_snapshot", forget_meanwhile)
    context = answerer.plan("a", Question("What now?", ("a",)), now=START + 100)
    assert context.span_frames == 60
    assert context.features.any(axis=(1, 2)).all()  # no frame is blank


def test_of_many_cameras_the_likeliest_are_asked_and_the_others_named_with_the_reason(
    tmp_path: Path, model: AfterviewModel
) -> None:
    for number in range(MOST_CAMERAS + 2):
        record(tmp_path, model, f"camera {number}", 20 + number)
    record(tmp_path, model, "elsewhen", 5, late=9000.0)
    answerer = Answerer(Memory(tmp_path), model)
    answer = answerer.ask(Question("What now?", at=START + 60, max_new_tokens=2))
    assert len(answer.parts) == MOST_CAMERAS
    assert len(answer.skipped) == 3
    assert "nothing was recorded before" in answer.skipped["elsewhen"]
    assert sum("less similar to the question" in why for why in answer.skipped.values()) == 2
    assert {item.camera for item in answer.evidence} <= {part.coverage.camera for part in answer.parts}
    left_out = next(name for name, why in answer.skipped.items() if "less similar" in why)
    assert answerer.ask(Question("What now?", (left_out,), at=START + 60, max_new_tokens=2)).skipped == {}


def test_search_on_the_command_line(tmp_path: Path, model: AfterviewModel, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, model, "a", 100)
    record(tmp_path, model, "b", 50)
    memory = ["--memory", str(tmp_path)]
    assert main(["search", "a red circle", *memory, "--top", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    scores = [hit["score"] for hit in document["hits"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert document["exact"] is True
    assert all(hit["time"] == START + hit["frame"] for hit in document["hits"])
    assert (
        main(
            [
                "search",
                "a red circle",
                *memory,
                "--camera",
                "b",
                "--from",
                str(START + 10),
                "--at",
                str(START + 12),
                "--json",
            ]
        )
        == 0
    )
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert {(hit["camera"], hit["frame"]) for hit in hits} == {("b", 10), ("b", 11), ("b", 12)}
    assert main(["search", "a red circle", *memory]) == 0
    assert "score" in capsys.readouterr().out
    assert main(["search", " ", *memory]) == 2
    assert main(["search", "x", *memory, "--top", "0"]) == 2


def test_a_live_watch_is_paused_masked_and_made_to_forget_by_its_socket(
    tmp_path: Path, model: AfterviewModel, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, config = tmp_path / "m", IngestConfig(parse_source("lavfi:testsrc2=size=96x64:rate=20"), fps=10.0)
    with Recording(memory, model.encoders, "a", config) as recording:
        recording.wait_for(20)
        first = recording.acks[5].time
        arguments = ["--memory", str(memory), "--camera", "a"]
        assert main(["forget", *arguments, "--yes", "--from", repr(first), "--to", repr(first + 1), "--json"]) == 0
        done = json.loads(capsys.readouterr().out)["cameras"][0]
        assert done["frames"] >= 3
        assert done["by"] == "recorder"
        assert main(["mask", *arguments, "--polygon", "0,0 1,0 1,1 0,1"]) == 0
        assert main(["pause", *arguments]) == 0
        assert wait_until(lambda: recording.states[-1][0] == "paused", 10)
        time.sleep(0.3)  # what was on its way
        paused = len(recording.acks)
        time.sleep(0.7)
        assert len(recording.acks) == paused
        assert main(["resume", *arguments]) == 0
        recording.wait_for(paused + 5)
    snapshot = Memory(memory).camera("a").snapshot()
    assert "paused" in [gap.reason for gap in snapshot.gaps]
    assert not ((snapshot.times >= first) & (snapshot.times <= first + 1)).any()
    from afterview.stream.media import decode_jpeg

    assert decode_jpeg(snapshot.image(int(snapshot.ids[-1]))).max() < 12  # all of it is masked
    assert decode_jpeg(snapshot.image(int(snapshot.ids[0]))).max() > 100
    assert fsck(memory / "a").damage == []
