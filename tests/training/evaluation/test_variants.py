"""Evaluation on worlds that change and on stories of several cameras: which questions are asked, and how several answers are combined."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Answer, CameraAnswer, Question
from afterview.training.evaluation.judge import OneAnswer, is_right, read_cameras
from afterview.training.evaluation.plan import VARIANTS, VariantName, WorldTest, questions_for
from afterview.training.evaluation.tables import Outcome, summary
from afterview.training.evaluation.worlds import START, ask_all, ingest_worlds
from afterview.training.world import WorldQuestion, read_truth
from afterview.training.world.camera_questions import CAMERA_KINDS
from afterview.training.world.facts import KINDS
from afterview.training.world.twist_facts import TWIST_KINDS
from tests.training.evaluation.test_worlds import question


@pytest.mark.parametrize(
    ("variant", "kinds", "cameras"),
    [("plain", KINDS, 1), ("changing", TWIST_KINDS, 1), ("cameras", CAMERA_KINDS, 3)],
)
def test_every_sort_of_world_is_asked_what_is_new_in_it(
    variant: VariantName, kinds: tuple[str, ...], cameras: int
) -> None:
    test = WorldTest(range(5), frames=300, questions=40, variant=variant)
    asked, changes, covers = [], 0, 0
    for seed in test.seeds:
        footage = test.footage(seed)
        assert len(footage.scripts) == cameras
        assert len(footage.named) == (1 if cameras == 1 else 0)
        asked += questions_for(footage, test)
        events = [event for script in footage.scripts.values() for event in script.events]
        changes += sum(event.change is not None for event in events)
        covers += sum(event.cover is not None for event in events)
    assert {one.kind for one in asked} == set(kinds)
    assert (min(changes, covers) > 0) == (max(changes, covers) > 0) == (variant == "changing")
    assert all((one.names_camera is not None) == (one.kind in ("on camera", "next camera")) for one in asked)
    perfect = [Outcome(1, 300, "bounded", one, one.answer, None, 0.1) for one in asked]
    assert summary(perfect)["all"]["accuracy"] == 1.0


def test_worlds_of_every_sort_are_kept_apart() -> None:
    filmed = [WorldTest([5], frames=300, variant=variant, pairs=pairs).footage(5) for variant in VARIANTS
              for pairs in ("seen", "all")]  # fmt: skip
    places = [(footage.memory, camera) for footage in filmed for camera in footage.scripts]
    videos = [footage.video(camera) for footage in filmed for camera in footage.scripts]
    assert len(set(places)) == len(set(videos)) == len(places) == 2 * (1 + 1 + 3)


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ({"gate": "red", "hall": "Not seen.", "yard": "no"}, "gate"),
        ({"gate": "yes", "hall": "nothing", "yard": "00:00:12"}, "gate and yard"),
        ({"gate": "a", "hall": "b", "yard": "c"}, "gate, hall and yard"),
        ({"gate": "not seen", "hall": "", "yard": "not seen"}, "not seen"),
    ],
)
def test_of_several_cameras_those_that_do_not_deny_are_taken_as_named(said: dict[str, str], taken: str) -> None:
    about_all = question("camera", "gate and yard")
    answers = {camera: OneAnswer(text) for camera, text in said.items()}
    assert read_cameras(about_all, answers) == taken
    assert is_right(about_all, taken) is (taken == "gate and yard")
    assert read_cameras(question("on camera", "red", names_camera="gate"), answers) == said["gate"]


@pytest.mark.parametrize(
    ("shown_s", "first", "next_to_hall"),
    [
        ({"gate": 30.0, "hall": 10.0, "yard": 20.0}, "hall", "yard"),
        ({"gate": 5.0, "hall": 10.0, "yard": 20.0}, "gate", "yard"),
        ({"gate": 30.0, "yard": 20.0}, "yard", "yard"),  # hall denies it
        ({"gate": 5.0, "hall": 10.0}, "gate", "not seen"),
        ({}, "not seen", "not seen"),
    ],
)
def test_which_camera_was_first_or_next_is_told_by_the_evidence_of_those_that_claim_it(
    shown_s: dict[str, float], first: str, next_to_hall: str
) -> None:
    said = {
        name: OneAnswer("yes", shown_s[name]) if name in shown_s else OneAnswer("not seen", 1.0)
        for name in ("gate", "hall", "yard")
    }
    assert read_cameras(question("first camera", "gate"), said) == first
    assert read_cameras(question("next camera", "gate", names_camera="hall"), said) == next_to_hall


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of the evaluations below: each world is ingested once."""
    return tmp_path_factory.mktemp("evaluated")


@pytest.mark.thorough
def test_evaluate_changing_worlds_and_stories_on_several_cameras_from_pixels_to_figures(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model was not trained on these kinds, so accuracy is not checked: only the questions, the counts, and that a memory is reused."""
    command = ["evaluate", "world", "--seeds", "42", "--frames", "60", "--questions", "10", "--work", str(evaluated)]
    for variant, kinds in (("changing", TWIST_KINDS), ("cameras", CAMERA_KINDS)):
        assert main([*command, "--world", variant, "--json"]) == 0
        captured = capsys.readouterr()
        document = json.loads(captured.out)
        table = document["recall"]["bounded"]
        assert document["world"] == variant
        assert table["all"]["asked"] == sum(row["asked"] for row in table["kinds"].values()) >= 8
        assert set(table["kinds"]) <= set(kinds)
        assert all(
            0 < row["chance"] < 1 and row["low"] <= row["accuracy"] <= row["high"] for row in table["kinds"].values()
        )
        assert f"{180 if variant == 'cameras' else 60} frames ingested" in captured.err
        assert main([*command, "--world", variant]) == 0
        again = capsys.readouterr()
        assert "ingested" not in again.err
        assert f"1 {VARIANTS[variant].called}, of 60 frames" in again.out
        assert all(f"| {kind} | {row['accuracy']:.2f} |" in again.out for kind, row in table["kinds"].items())
    assert Memory(evaluated / "memory").camera_ids() == ["world-42-60-seen-changing"]
    story = Memory(evaluated / "story-42-60-seen")
    assert story.camera_ids() == ["gate", "hall", "yard"]
    assert [len(story.camera(name).snapshot().times) for name in story.camera_ids()] == [60, 60, 60]
    assert read_truth(evaluated / "story-42-60-seen-hall.truth.json")[0].camera == "hall"
    assert list(evaluated.glob("*.mp4")) == []


def test_a_question_to_a_story_is_put_to_all_its_cameras_and_judged_by_all(
    evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows what its own camera saw and when, and denies everything else, is right about all questions."""
    test = WorldTest([42], frames=60, questions=12, variant="cameras")
    model = load_pretrained("tiny", device="cpu")
    ingest_worlds(test, model.encoders, evaluated)
    truths = {one.text: one for one in questions_for(test.footage(42), test)}

    def answer(self: Answerer, asked: Question, on_text: object = None) -> Answer:
        given = put(self, asked)
        assert [part.coverage.camera for part in given.parts] == ["gate", "hall", "yard"]
        truth = truths[asked.text]
        return replace(given, parts=tuple(seen_by(part.coverage.camera, truth, part) for part in given.parts))

    def seen_by(camera: str, truth: WorldQuestion, part: CameraAnswer) -> CameraAnswer:
        seen = dict(zip(truth.cameras, truth.spans, strict=True))
        if truth.kind == "on camera":
            return replace(part, text=truth.answer if truth.names_camera == camera else "something else")
        if camera not in seen:
            return replace(part, text="not seen")
        return replace(part, text="yes", evidence=(replace(part.evidence[0], time=START + seen[camera][0]),))

    put = Answerer.ask
    monkeypatch.setattr(Answerer, "ask", answer)
    outcomes = list(ask_all(test, model, evaluated))
    assert {outcome.question.kind for outcome in outcomes} == set(CAMERA_KINDS)
    assert len(outcomes) == len(truths) >= 8
    assert all(outcome.right for outcome in outcomes)
