"""A question to several cameras: each answers as it would alone, the reply says who was asked and why; and how the index searched."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import SpecMismatch
from afterview.memory.directory import Memory
from afterview.memory.format.journal import read_journal
from afterview.memory.index import frame_index as index_module
from afterview.memory.index import segments
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.cameras import MOST_CAMERAS
from afterview.stream.ask.merging import OrderedMerger
from afterview.stream.ask.question import Question
from tests.support.memory_world import START, make_frame, make_spec


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


def record(memory: Path, model: AfterviewModel, name: str, frames: range) -> None:
    spec = model.encoders.feature_spec
    with open_camera(memory, name, spec) as repository:
        for number in frames:
            repository.append(make_frame(number, spec))


@pytest.fixture(scope="module")
def yards(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel) -> Path:
    """Three cameras with different memories, one that holds nothing of the time asked about, and one of another model."""
    memory = tmp_path_factory.mktemp("memory")
    for name, frames in [
        ("back", range(40)),
        ("front", range(100, 190)),
        ("gate", range(30, 50)),
        ("new", range(900, 905)),
    ]:
        record(memory, model, name, frames)
    with open_camera(memory, "other", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    return memory


def test_each_of_several_answers_as_it_would_alone(yards: Path, model: AfterviewModel) -> None:
    answerer = Answerer(Memory(yards), model)
    question = "What was the colour of the big ring?"
    together = answerer.ask(Question(question, at=START + 800))
    assert [part.coverage.camera for part in together.parts] == ["back", "front", "gate"]
    for part in together.parts:
        alone = answerer.ask(Question(question, (part.coverage.camera,), at=START + 800)).parts[0]
        assert part.text == alone.text
        assert [item.frame for item in part.evidence] == [item.frame for item in alone.evidence]
        np.testing.assert_allclose(
            [item.weight for item in part.evidence], [item.weight for item in alone.evidence], rtol=1e-4
        )
        assert {item.camera for item in part.evidence} == {part.coverage.camera}
        assert part.coverage == alone.coverage
        assert part.provenance == alone.provenance
        assert 0 < part.timing["recall_s"] <= part.timing["first_token_s"] <= part.timing["total_s"] <= together.total_s
    assert together.text == "\n".join(f"{part.coverage.camera}: {part.text}" for part in together.parts)


def test_the_reply_says_which_cameras_were_asked_and_which_not_and_why(
    yards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["ask", "What now?", "--memory", str(yards), "--at", str(START + 800), "--model", "tiny"]
    assert main([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [part["camera"] for part in document["cameras"]] == ["back", "front", "gate"]
    assert {part["why"] for part in document["cameras"]} == {"no camera was named, and all that can answer are asked"}
    assert [part["coverage"]["frames"] for part in document["cameras"]] == [40, 90, 20]
    assert document["skipped"].keys() == {"new", "other"}
    assert "nothing was recorded before" in document["skipped"]["new"]
    assert "its features were made by 'made-up'" in document["skipped"]["other"]
    assert {item["camera"] for item in document["evidence"]} == {"back", "front", "gate"}
    assert main([*asked, "--camera", "gate", "--camera", "new"]) == 0
    printed = capsys.readouterr().out
    assert "it was named" in printed
    assert "not asked new: camera 'new': nothing was recorded before" in printed
    assert main([*asked, "--camera", "gate", "--camera", "other"]) == 2
    assert "its features were made by 'made-up'" in capsys.readouterr().err


def test_search_over_one_several_and_all(yards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def search(*cameras: str, top: int = 200) -> dict[str, Any]:
        named = [word for name in cameras for word in ("--camera", name)]
        arguments = ["search", "a red box", "--memory", str(yards), "--model", "tiny", "--top", str(top), "--json"]
        assert main([*arguments, *named]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        for hit in document["hits"]:
            del hit["image"]  # each search saves its own
        return document

    one, several, everywhere = search("gate"), search("gate", "back"), search()
    assert {hit["camera"] for hit in one["hits"]} == {"gate"}
    assert len(one["hits"]) == 20
    assert {hit["camera"] for hit in several["hits"]} == {"gate", "back"}
    assert [hit for hit in several["hits"] if hit["camera"] == "gate"] == one["hits"]
    assert [hit for hit in everywhere["hits"] if hit["camera"] in ("gate", "back")] == several["hits"]
    assert len(everywhere["hits"]) == 40 + 90 + 20 + 5
    assert everywhere["hits"][:7] == search(top=7)["hits"]
    assert everywhere["skipped"].keys() == {"other"}
    assert one["skipped"] == {}
    assert main(["search", "a red box", "--memory", str(yards), "--model", "tiny", "--camera", "other"]) == 2
    assert "its features were made by 'made-up'" in capsys.readouterr().err


def test_a_camera_of_another_model_that_is_named_is_an_error(yards: Path, model: AfterviewModel) -> None:
    with pytest.raises(SpecMismatch, match="reembed"):
        Answerer(Memory(yards), model).ask(Question("What now?", ("other",)))


def test_the_text_of_several_is_streamed_in_the_order_of_the_answer(yards: Path, model: AfterviewModel) -> None:
    pieces: list[str] = []
    answer = Answerer(Memory(yards), model).ask(Question("Where was the ring?", at=START + 800), on_text=pieces.append)
    said = [line.split(": ", 1) for line in "".join(pieces).split("\n")]
    assert [(name, text.strip()) for name, text in said] == [(p.coverage.camera, p.text) for p in answer.parts]


def test_a_text_is_handed_over_when_those_before_it_are_whole() -> None:
    heard: list[str] = []
    texts = OrderedMerger(["a: ", "b: ", "c: "], heard.append)
    texts.push(1, "two")
    assert heard == ["a: "]
    texts.push(0, "one")
    texts.end(2)
    texts.push(1, " more")
    assert heard == ["a: ", "one"]
    texts.end(0)
    assert heard == ["a: ", "one", "\nb: two more"]
    texts.push(1, "!")
    texts.end(1)
    assert "".join(heard) == texts.merged() == "a: one\nb: two more!\nc: "


def test_named_cameras_are_all_asked_however_many(tmp_path: Path, model: AfterviewModel) -> None:
    names = tuple(f"camera-{number}" for number in range(MOST_CAMERAS + 6))
    for number, name in enumerate(names):
        record(tmp_path, model, name, range(number, number + 3))
    answer = Answerer(Memory(tmp_path), model).ask(Question("What now?", names, max_new_tokens=2))
    assert [part.coverage.camera for part in answer.parts] == list(names)
    unnamed = Answerer(Memory(tmp_path), model).ask(Question("What now?", max_new_tokens=2))
    for place, part in enumerate(unnamed.parts, 1):
        assert f"the most similar to the question (place {place} of 10, similarity" in part.why
    assert len(unnamed.skipped) == 6


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 64, 256 and 512 frames, and an index that is exact up to 600 frames unless told otherwise."""
    for module in (index_module, segments):
        for name, size in (("SMALL", 64), ("LARGE", 256), ("INVERTED", 512), ("CELLS", 8), ("PROBES", 2)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(segments, "_TRAIN", 512)
    monkeypatch.setitem(FrameIndex.__init__.__kwdefaults__, "exact_frames", 600)


@pytest.mark.usefixtures("small_segments")
def test_as_of_a_moment_an_exact_search_is_reproducible_and_an_approximate_one_says_so(
    tmp_path: Path, model: AfterviewModel, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Question("What was the colour of the ring?", at=START + 399, max_new_tokens=2)

    def ask(exact_frames: int) -> tuple[list[int], str]:
        memory = Memory(tmp_path)
        memory._indexes["a"] = FrameIndex(tmp_path / "a" / "index", exact_frames=exact_frames)
        context = Answerer(memory, model).plan("a", asked, START + 399)
        assert context.recall.mode == "bounded"
        return context.recall.frames.tolist(), context.search

    record(tmp_path, model, "a", range(450))
    first, search = ask(10**6)
    assert search == "exact"
    record(tmp_path, model, "a", range(450, 1100))
    assert ask(10**6) == (first, "exact")  # whatever came since
    _, search = ask(600)
    assert search == "approximate"
    arguments = ["ask", asked.text, "--memory", str(tmp_path), "--at", str(asked.at)]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["coverage"]["search"] == document["provenance"]["search"] == "approximate"
    assert document["cameras"][0]["coverage"]["recall"] == "bounded"
    assert main(arguments) == 0
    assert "(approximate search: the same question may recall other frames)" in capsys.readouterr().out
    assert main([*arguments[:-1], str(START + 1099), "--from", str(START + 1030), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["search"] == "none"  # all of a short span is recalled


@pytest.mark.usefixtures("small_segments")
def test_frames_are_added_while_others_search(tmp_path: Path, model: AfterviewModel) -> None:
    """One index, one thread that records and adds, three that search: FAISS alone crashes at this."""
    record(tmp_path, model, "a", range(500))
    memory, spec = Memory(tmp_path), model.encoders.feature_spec
    index, reader = memory.index("a"), memory.camera("a")
    index.catch_up(reader.snapshot())
    done, wrong = threading.Event(), []

    def search(seed: int) -> None:
        draw = np.random.default_rng(seed)
        snapshot = memory.camera("a").snapshot()
        while not done.is_set():
            number = int(draw.integers(400, 500))
            hits = index.search(make_frame(number, spec).embedding, 1, snapshot, first=400, end=500).hits
            if [hit.frame for hit in hits] != [number]:
                wrong.append((number, hits))

    searchers = [threading.Thread(target=search, args=(seed,), daemon=True) for seed in range(3)]
    for thread in searchers:
        thread.start()
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(500, 570):
            repository.append(make_frame(number, spec))
            repository.sync()
            index.catch_up(reader.snapshot())
    done.set()
    for thread in searchers:
        thread.join(30)
    assert wrong == []
    assert index.frames == 570
    assert index.search(make_frame(569, spec).embedding, 1, reader.snapshot()).hits[0].frame == 569


@pytest.mark.parametrize("named", [0, 3])
def test_each_camera_is_looked_at_once_for_a_question(
    named: int, tmp_path: Path, model: AfterviewModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"camera-{number}" for number in range(16)]
    for number, name in enumerate(names):
        record(tmp_path, model, name, range(number, number + 3))
    scans: list[str] = []

    def counting(path: Path) -> bytes:
        scans.append(path.parent.name)
        return read_journal(path)

    monkeypatch.setattr("afterview.memory.reading.reader.read_journal", counting)
    Answerer(Memory(tmp_path), model).ask(Question("What now?", tuple(names[:named]), max_new_tokens=2))
    assert sorted(scans) == sorted(names[:named] if named else names)
