"""The commands with a preset that only finds frames, beside the built-in model in one memory."""

import json
from pathlib import Path
from typing import Any

import pytest

import afterview
from afterview.cli.main import main
from afterview.model.base.errors import NoLanguageModel
from tests.support.clips import make_clip
from tests.support.model_server import MODEL, model_server
from tests.support.siglip2 import write_search_preset


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`search.yaml`, and a memory with `door` (search) and `hall` (tiny) of the same clip."""
    directory = tmp_path_factory.mktemp("search")
    write_search_preset(directory)
    clip = str(make_clip(directory / "clip.mp4", frames=60, rate=10))
    for camera, model in (("door", str(directory / "search.yaml")), ("hall", "tiny")):
        given = ["--camera", camera, "--model", model, "--memory", str(directory / "memory"), "--start", "2025-01-01"]
        assert main(["replay", clip, *given]) == 0
    return directory


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_camera_answers_by_its_own_kind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory, question = ["--memory", str(place / "memory")], "Did you see a red ring?"
    door = said(capsys, "ask", question, *memory, "--camera", "door")
    hall = said(capsys, "ask", question, *memory, "--camera", "hall")
    assert (door["evidence_kind"], door["finds_only"]) == ("index", True)
    assert (hall["evidence_kind"], hall["finds_only"]) == ("memaug", False)
    assert [one["evidence_kind"] for one in (*door["cameras"], *hall["cameras"])] == ["index", "memaug"]
    assert "made by 'tiny'" in said(capsys, "ask", question, *memory)["skipped"]["hall"]
    assert len(said(capsys, "search", "a red ring", *memory, "--camera", "door", "--top", "3")["hits"]) == 3
    again = said(capsys, "answers", door["id"], *memory)
    assert (again["evidence_kind"], again["finds_only"]) == ("index", True)
    asked = afterview.ask(place / "memory", question, camera="door")
    assert asked.finds_only
    with pytest.raises(NoLanguageModel, match="finds frames and does not answer"):
        afterview.load_pretrained(str(place / "search.yaml"))


def test_what_the_evidence_is_stands_on_the_screen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = ["--memory", str(place / "memory")]
    for camera, words, number in (
        ("door", "evidence: the frames that the index finds most similar to the question", "score 0."),
        ("hall", "evidence: the attention of MemAug to frames of the memory", "weight 0."),
    ):
        capsys.readouterr()
        assert main(["ask", "Did you see a red ring?", *memory, "--camera", camera]) == 0
        shown = capsys.readouterr().out
        assert words in shown
        assert number in shown
        if camera == "door":
            assert "verdict: unverified (this model finds frames and does not answer)" in shown
            assert "the index compared all of them with the question" in shown
    assert main(["info", *memory]) == 0
    assert "the index alone, 32 numbers a frame; it finds frames and does not answer" in capsys.readouterr().out


def test_a_model_server_answers_from_frames_that_the_index_found(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with model_server() as server:
        own = ["--answer-with", server.url, "--memory", str(place / "memory"), "--camera", "door"]
        document = said(capsys, "ask", "Is a cat on the sofa?", *own)
        assert main(["ask", "Is a cat on the sofa?", *own]) == 0
    assert (document["evidence_kind"], document["finds_only"]) == ("index", False)
    assert document["provenance"]["answered_by"]["model"] == MODEL
    assert "evidence: the frames that index and recall chose for the model" in capsys.readouterr().out


def test_a_memory_changes_between_finding_and_answering(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = ["--memory", str(tmp_path / "memory")]
    preset = str(place / "search.yaml")
    assert main(["replay", str(place / "clip.mp4"), "--camera", "c", "--model", preset, *memory]) == 0
    first = said(capsys, "search", "a ring", *memory)["hits"]
    assert main(["reembed", "--model", "tiny", *memory]) == 0
    assert said(capsys, "ask", "Did you see a red ring?", *memory)["evidence_kind"] == "memaug"
    assert main(["reembed", "--model", preset, *memory]) == 0
    again = said(capsys, "search", "a ring", *memory)["hits"]
    assert {hit["frame"] for hit in first} == {hit["frame"] for hit in again}
    assert main(["fsck", *memory]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extract", "{clip}", "--model", "search", "--out", "{out}"], "extracting for a training needs a language model"),
        (["evaluate", "world", "--model", "search"], "an evaluation of answers needs a language model"),
        (["evaluate", "needle", "--model", "search", "--out", "{out}"], "an evaluation of answers needs a language model"),
        (["train", "{stage}", "--out", "{out}"], "training needs a language model"),
        (["ask", "What?", "--recording", "{clip}", "--model", "search"], "a question to a recording needs a language model"),
        (["replay", "{clip}", "--model", "{preset}", "--tokens", "int8", "--memory", "{out}"], "stores no tokens; leave it out"),
    ],
)  # fmt: skip
def test_what_needs_answers_refuses_the_preset(
    arguments: list[str], words: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = tmp_path / "stage.yaml"
    stage.write_text("model: search\n")
    names = {"clip": place / "clip.mp4", "out": tmp_path / "out", "stage": stage, "preset": place / "search.yaml"}
    capsys.readouterr()
    assert main([one.format(**names) for one in arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
