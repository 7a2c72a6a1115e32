"""The exact writer and the judge: every kind of question is read back as it was written, and all 22 tasks are reached."""

import itertools

import pytest

from afterview.training.marathon.rows import Question
from afterview.training.marathon.tasks import BY_NAME, TASKS
from afterview.training.marathon.worlds.captioner import Mistakes, caption_clip
from afterview.training.marathon.worlds.claims import CLAIMS, read_claim
from afterview.training.marathon.worlds.judge import judge
from afterview.training.marathon.worlds.story import Story, read_story, story_of
from afterview.training.world import WorldConfig, make_script

RICH = WorldConfig(hidden=0.4, moving=0.4, changing=0.3, repeats=(1, 3))


def told(story: Story, clip_s: float, shift_s: float = 0.0, mistakes: Mistakes = Mistakes()) -> Story:  # noqa: B008
    edges = [0.0, *[shift_s + clip_s * n for n in range(1, 100) if shift_s + clip_s * n < story.seconds], story.seconds]
    captions = [caption_clip(story, "v", start, end, mistakes) for start, end in itertools.pairwise(edges)]
    return read_story([moment for one in captions for moment in one["moments"]], story.seconds)


@pytest.mark.parametrize("seed", range(8))
def test_exact_captions_of_any_clips_tell_the_whole_truth(seed: int) -> None:
    story = story_of(make_script(seed, 400.0, RICH), None)
    assert told(story, 30.0) == story
    assert told(story, 17.0, 4.2) == story


def test_every_kind_of_claim_is_read_back_and_all_tasks_are_reached() -> None:
    reached = set()
    for seed in range(12):
        story = story_of(make_script(seed, 600.0, RICH), None)
        for claim in CLAIMS:
            for slots in claim.slots(story):
                read = read_claim(claim.written(slots))
                assert read is not None
                assert read[0] is claim
                assert claim.answer(story, read[1]) == claim.answer(story, slots)
                if claim.answer(story, slots):
                    reached.add(claim.task)
    assert reached == {task.name for task in TASKS}


def test_a_captioner_s_mistakes_are_as_many_as_asked_for_and_lead_to_questions_that_the_judge_finds_wrong() -> None:
    story = story_of(make_script(3, 3000.0, WorldConfig(objects=(8, 8), repeats=(3, 3))), None)
    assert told(story, 30.0, mistakes=Mistakes(drop=1.0)).sightings == ()
    swapped = told(story, 30.0, mistakes=Mistakes(swap=1.0))
    assert len(swapped.sightings) >= len(story.sightings)
    invented = told(story, 30.0, mistakes=Mistakes(hallucinate=0.5, seed=1))
    assert 30 < len(invented.sightings) - len(story.sightings) < 70, "of 100 clips"
    assert told(story, 30.0, mistakes=Mistakes(hallucinate=0.5, seed=2)) != invented

    claim = next(claim for claim in CLAIMS if claim.task == "temporal perception")
    false = next(one for one in invented.sightings if not story.named(one.name) and invented.single(one.name))
    found = claim.answer(invented, {"one": false.name})
    assert found is not None
    question = Question(
        key="k", video="v", topic=BY_NAME[claim.task].topic, task=claim.task, form="open", question=claim.written({"one": false.name}),
        answer=found.answer,
    )  # fmt: skip
    assert judge(question, story).why == "unanswerable"
    true = next(one for one in story.sightings if story.single(one.name))
    right = claim.answer(story, {"one": true.name})
    assert right is not None
    question = question.model_copy(update={"question": claim.written({"one": true.name}), "answer": right.answer})
    assert judge(question, story).right
    assert judge(question.model_copy(update={"task": "action localization"}), story).why == "task"
    assert judge(question.model_copy(update={"answer": "00:00:00"}), story).why == "answer"
    assert judge(question.model_copy(update={"wrong": (right.answer,)}), story).why == "options"
    assert judge(question.model_copy(update={"question": "Who is it?"}), story).why == "unknown words"
