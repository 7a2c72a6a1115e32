"""Further looks of the shipped model into a recorded world: what they find is true, and it is noted and proven."""

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from afterview.memory.base.errors import Unreadable
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.looks import AFTER, BEFORE, BETWEEN, FIRST, ORDER, PREVIOUS
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.context import Context, Planner
from afterview.stream.ask.further_looks import FurtherLooks, unseen
from afterview.stream.ask.question import Question
from afterview.stream.errors import Cancelled
from afterview.training.evaluation.judge import is_right
from afterview.training.evaluation.plan import WorldTest
from afterview.training.evaluation.worlds import START, ingest_worlds
from afterview.training.world import QuestionPlan, WorldQuestion, multiple_choice, questions_at, settled_time

SEED, FRAMES = 500, 300
TOKENS = {"first": FIRST, "order": ORDER, "gap": BETWEEN, "before": BEFORE, "after": AFTER, "scene before": PREVIOUS}


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def recorded(model: AfterviewModel, tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    directory = tmp_path_factory.mktemp("world")
    test = WorldTest([SEED], frames=FRAMES)
    ingest_worlds(test, model.encoders, directory)
    return Answerer(Memory(directory / test.footage(SEED).memory), model, times_since_start=True)


def questions(kinds: Sequence[str], count: int) -> list[WorldQuestion]:
    (script,) = WorldTest([SEED], frames=FRAMES).footage(SEED).scripts.values()
    return questions_at(script, settled_time(script, float(FRAMES)), QuestionPlan(count=count, kinds=tuple(kinds)))


def looks_of(answerer: Answerer, text: str, at: float | None = None, **settings: object) -> FurtherLooks:
    (camera,) = answerer.memory.camera_ids()
    context = answerer.plan(camera, Question(text, at=at), time.time())
    return FurtherLooks(answerer._planner, answerer.model, context, time.time(), seed=0, between="between", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(TOKENS))
def test_looks_find_what_is_true(recorded: Answerer, kind: str) -> None:
    asked = questions([kind], 6)
    assert asked
    right = 0
    for question in asked:
        looks = looks_of(recorded, question.text, START + question.at_s)
        said = looks.answer(TOKENS[kind], ", ".join(question.about))
        right += is_right(question, said)
        assert looks.made
        if kind != "scene before" and said == question.answer and len(question.spans) > 1:
            heaviest = max(looks.weights, key=lambda frame: looks.weights[frame])
            assert any(start <= heaviest <= end + 1 for start, end in question.spans)  # a frame is a second
            assert sum(looks.weights.values()) == pytest.approx(1.0, abs=0.01)
            if kind in ("before", "after"):  # proof of the thing comes first, then of its neighbour
                first, neighbour = sorted(looks.weights, key=lambda frame: -looks.weights[frame])[:2]
                assert question.spans[0][0] <= first <= question.spans[0][1] + 1
                assert question.spans[1][0] <= neighbour <= question.spans[1][1] + 1
    assert right >= len(asked) - 1  # the model misreads a thing now and then


def test_a_thing_that_was_never_shown_is_named(recorded: Answerer) -> None:
    absent = [one.about[0] for one in questions(["exists"], 40) if one.answer == "no"][:6]
    (there, *_) = [one.about[0] for one in questions(["when"], 10) if one.seen]
    named = 0
    for missing in absent:
        said = set()
        for token in (FIRST, ORDER, BETWEEN):
            looks = looks_of(recorded, "Which came first?")
            said.add(looks.answer(token, f"{there}, {missing}"))
            assert looks.made[0].found is not None
        said |= {looks_of(recorded, "What came next?").answer(token, missing) for token in (BEFORE, AFTER)}
        named += said == {f"I did not see the {missing}"}
    assert named >= len(absent) - 1 == 5  # the model takes one thing for another now and then
    assert unseen(["cube", "cone", "egg"]) == "I did not see the cube, the cone or the egg"


def test_looks_see_no_more_than_the_question(recorded: Answerer) -> None:
    (question, *_) = [one for one in questions(["when"], 10) if one.seen and one.value and one.value > 20]
    looks = looks_of(recorded, "Which came first?", START + (question.value or 0) - 5)
    assert looks.answer(BEFORE, question.about[0]) == f"I did not see the {question.about[0]}"
    assert all(look.at <= START + (question.value or 0) - 5 for look in looks.made)


def test_words_that_name_too_little_are_not_looked_for(recorded: Answerer) -> None:
    looks = looks_of(recorded, "How long between them?")
    assert looks.answer(BETWEEN, "") == "between"
    assert looks.names_to_dict() == {}
    assert looks.answer(BETWEEN, "red ring, red ring") == "between"  # one thing has no time between
    assert looks.names_to_dict() == {"names_corrected": 1}  # a thing of the question may be missing
    assert looks.answer(ORDER, " ") == " "
    assert looks.made == []
    assert looks.to_dicts() == []


def test_looks_that_hear_the_same_are_noted_once(recorded: Answerer) -> None:
    for question in questions(["after", "before"], 12):
        looks = looks_of(recorded, question.text, START + question.at_s)
        looks.answer(TOKENS[question.kind], question.about[0])
        rows = looks.to_dicts()
        assert sum(row["times"] for row in rows) == len(looks.made)
        assert rows[0]["time"] == looks.made[0].found
        heard = [(row["question"], row["said"]) for row in rows]
        assert all(one != other for one, other in pairwise(heard))


def test_cancelling_ends_the_looks(recorded: Answerer) -> None:
    cancel = threading.Event()
    looks = looks_of(recorded, "Which came first?", cancel=cancel)
    cancel.set()
    with pytest.raises(Cancelled):
        looks.answer(FIRST, "red ring, blue star")


def test_the_wordings_are_the_presets(recorded: Answerer, tmp_path: Path) -> None:
    looks = looks_of(recorded, "Which came first?")
    looks.answer(FIRST, "red ring, {}")
    assert [look.question for look in looks.made] == ["When did the red ring appear?", "When did the {} appear?"]


def test_a_moment_that_cannot_be_read_is_passed_over_and_noted(
    recorded: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(self: Planner, snapshot: MemorySnapshot, question: Question, *rest: Any) -> Context:
        part = question.text == recorded.model.preset.looks.when.replace("{}", name) and question.at != whole
        if part or (question.text == recorded.model.preset.looks.now and len(seen) < 4):
            seen.append(question.at)
            raise Unreadable("its frames are out of reach", Path("camera"))
        return really(self, snapshot, question, *rest)

    really, (question, *_) = Planner.plan, [one for one in questions(["before"], 6) if len(one.spans) > 1]
    name, looks, seen = (
        question.about[0],
        looks_of(recorded, question.text, START + question.at_s),
        list[float | None](),
    )
    whole = looks._context.snapshot.time_of(int(looks._context.ids[-1]))
    monkeypatch.setattr(Planner, "plan", plan)
    looks.answer(BEFORE, name)
    unread = [look for look in looks.made if look.said.startswith("not read: ")]
    assert [look.at for look in unread] == seen
    assert len(seen) == 4
    assert len(looks.made) > 5  # and it looked on


def test_the_shipped_model_asks_for_looks_and_answers_with_their_proof(recorded: Answerer) -> None:
    asked = questions(list(TOKENS), 12)
    right = looked = 0
    for question in asked:
        answer = recorded.ask(Question(question.text, at=START + question.at_s, evidence=100))
        right += is_right(question, answer.text)
        if answer.parts[0].provenance.get("looks"):
            looked += 1
            assert sum(item.weight for item in answer.evidence) == pytest.approx(1.0, abs=0.05)
    assert right / len(asked) > 0.7  # the model card has the figures
    assert looked / len(asked) > 0.8
    (plain, *_) = questions(["colour"], 2)
    assert "looks" not in recorded.ask(Question(plain.text, at=START + plain.at_s)).parts[0].provenance


def test_a_question_with_options_gets_the_letter_of_what_looks_found(recorded: Answerer) -> None:
    asked = [multiple_choice(question) for question in questions(["first", "before", "after"], 8)]
    said = [recorded.ask(Question(question.text, at=START + question.at_s)) for question in asked]
    right = sum(is_right(question, answer.text) for question, answer in zip(asked, said, strict=True))
    assert right / len(asked) > 0.7
    assert any(answer.parts[0].provenance.get("looks") and len(answer.text) == 1 for answer in said)


def test_each_thing_of_the_question_is_looked_for_once(recorded: Answerer) -> None:
    corrected = 0
    for question in questions(["order", "first"], 24):
        (part,) = recorded.ask(Question(question.text, at=START + question.at_s)).parts
        named = [str(row["question"]) for row in part.provenance["looks"]]  # type: ignore[attr-defined]
        assert sorted(named) == sorted(f"When did the {name} appear?" for name in question.about)
        corrected += int(str(part.provenance.get("names_corrected", 0)))
    assert corrected > 0  # alone the shipped model names a thing of some twice, and leaves another out
