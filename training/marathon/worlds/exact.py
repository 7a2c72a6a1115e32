"""Answers every request about synthetic video without a model: captions from the truth, all else from the captions that it is given.

What it reads stands in the data of a request, which a prompt holds as a JSON block: a server that speaks OpenAI's protocol can answer with
the same functions.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from afterview.configs import UsageError
from afterview.training.base.seeds import seeded
from afterview.training.marathon.checks.agreement import same_answer
from afterview.training.marathon.config import WorldModelConfig
from afterview.training.marathon.models.request import Purpose, Request, Said
from afterview.training.marathon.worlds.agreeing import agreed
from afterview.training.marathon.worlds.captioner import Mistakes, caption_clip, described
from afterview.training.marathon.worlds.claims import CLAIMS, Claim, Slots, read_claim
from afterview.training.marathon.worlds.faulty_writer import spoiled
from afterview.training.marathon.worlds.story import Story, read_story, story_of, whole_caption
from afterview.training.world.truth import read_truth, truth_path
from afterview.training.world.vocabulary import listing

_HERE = "worlds 1"  # version of what is said
_TRIES = 400  # most claims of a kind that are tried for a question


class Truths:
    """The truths beside the videos of a directory."""

    def __init__(self, videos: Path) -> None:
        self._videos = videos
        self._story = lru_cache(maxsize=256)(self._read)

    def story(self, video: str) -> Story:
        """The truth of a video. Raises TruthError, and UsageError for a name that leads out of the directory."""
        path = self._videos / video
        if ".." in Path(video).parts or Path(video).is_absolute():
            raise UsageError(f"{video}: is no name of a video below {self._videos}")
        return self._story(path)

    @staticmethod
    def _read(path: Path) -> Story:
        script, facts = read_truth(truth_path(path))
        return story_of(script, facts)


class WorldModel:
    """Captioner, writer, checker and blind model of synthetic video."""

    def __init__(self, videos: Path, config: WorldModelConfig) -> None:
        self._truths, self._config = Truths(videos), config
        self._mistakes = Mistakes(config.drop, config.swap, config.hallucinate, config.seed)

    @property
    def identity(self) -> str:
        """The version and the mistakes."""
        return f"{_HERE} {self._config.model_dump_json()}"

    @property
    def at_once(self) -> int:
        """It computes: more at once gains nothing."""
        return 1

    @property
    def sees(self) -> bool:
        """It knows the truth."""
        return False

    @property
    def keep(self) -> bool:
        """It computes the same again, faster than a disk keeps it."""
        return False

    def stop(self) -> None:
        """It takes no time."""

    def ask(self, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> Said:
        """The answer as JSON."""
        return Said(
            json.dumps(self.answer(request.purpose, request.item, request.data, request.seed), ensure_ascii=False)
        )

    def answer(self, purpose: Purpose, item: str, data: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The answer to a request. item: names the clip, for its caption; otherwise unused."""
        if purpose == "clip_caption":
            video, clip = item.rpartition("#")[0], data["clip"]
            return caption_clip(self._truths.story(video), video, clip["start_s"], clip["end_s"], self._mistakes)
        answer = _ANSWERS[purpose](data, seeded(f"{_HERE}, {purpose}, {item}, seed {seed}"))
        if purpose == "questions" and self._config.spoil:
            rng = seeded(f"spoiled 1, {item}, seed {self._config.seed}")
            return {"questions": spoiled(answer["questions"], self._config.spoil, rng)}
        return answer


def _story(data: Mapping[str, Any]) -> Story:
    return read_story((moment for clip in data["clips"] for moment in clip["moments"]), data["seconds"])


def _events(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    story = _story(data)
    ends = [*(part.start_s for part in story.parts[1:]), story.seconds]
    starts = [0.0, *ends[:-1]]
    scenes = [part.scene for part in story.parts] or ["unknown"]
    return {
        "events": [
            {"start_s": start, "end_s": end, "title": f"the {scene} scene"}
            for scene, start, end in zip(scenes, starts, ends, strict=False)
        ]
    }


def _event_caption(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    event = data["event"]
    story = _story(data)
    inside = [one.named for one in story.sightings if event["start_s"] <= one.start_s < event["end_s"]]
    return {"caption": f"{event['title']}: {listing(inside) if inside else 'nothing'}."}


def _global_caption(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    scenes, things = [], list[str]()
    for event in data["events"]:
        title, _, inside = event["caption"].partition(": ")
        scenes.append(title.removeprefix("the ").removesuffix(" scene"))
        if inside != "nothing.":
            things += inside.removesuffix(".").replace(" and ", ", ").split(", ")
    return {"caption": whole_caption(scenes, things)}


def _questions(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    story, form, asked = _story(data), data["form"], list[dict[str, Any]]()
    names, before = {task["name"] for task in data["tasks"]}, set(data.get("asked", ()))
    pools = [(claim, _shuffled(claim, story, rng)) for claim in rng.sample(CLAIMS, len(CLAIMS)) if claim.task in names]
    while pools and len(asked) < data["count"]:
        for pool in list(pools):
            question = _next(*pool, story, form, data["options"], before, rng)
            if question is None:
                pools.remove(pool)
            elif len(asked) < data["count"]:
                asked.append(question)
    return {"questions": asked}


def _shuffled(claim: Claim, story: Story, rng: Random) -> list[Slots]:
    slots = [one for one, _ in zip(claim.slots(story), range(_TRIES), strict=False)]
    return rng.sample(slots, len(slots))


def _next(
    claim: Claim, slots: list[Slots], story: Story, form: str, options: int, before: set[str], rng: Random
) -> dict[str, Any] | None:
    """The next question of a kind; None if there is none. Its slots are taken from the list."""
    while slots:
        one = slots.pop()
        found = claim.answer(story, one)
        if found is None or (form == "choice" and not found.wrong) or claim.written(one) in before:
            continue
        wrong = rng.sample(found.wrong, min(options - 1, len(found.wrong))) if form == "choice" else []
        return {
            "task": claim.task, "question": claim.written(one), "answer": found.answer, "wrong": wrong,
            "spans": [{"start_s": shown.start_s, "end_s": shown.end_s} for shown in found.shown[:50]], "answer_s": found.value,
        }  # fmt: skip
    return None


def _agreed_caption(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    moments = agreed([one["captions"] for one in data["captioners"]], data["least"])
    story = read_story(moments, data["clip"]["end_s"])
    return described(story.parts, story.sightings)


def _answers(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    story = _story(data)
    return {"answers": [_answer(story, one) for one in data["questions"]]}


def _answer(story: Story, asked: Mapping[str, Any]) -> dict[str, Any]:
    claim = read_claim(asked["question"])
    found = None if claim is None else claim[0].answer(story, claim[1])
    if found is None:
        return {"number": asked["number"], "answerable": False, "answer": ""}
    options: Sequence[str] = asked.get("options") or ()
    answer = next((one for one in options if same_answer(one, found.answer)), found.answer)
    return {"number": asked["number"], "answerable": True, "answer": answer}


def _compare(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    return {
        "pairs": [{"number": one["number"], "same": same_answer(one["first"], one["second"])} for one in data["pairs"]]
    }


def _blind(data: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """Guesses: "yes", or any of the options."""
    answers = []
    for one in data["questions"]:
        options = one.get("options") or ["yes"]
        answers.append(
            {"number": one["number"], "answerable": True, "answer": "yes" if "yes" in options else rng.choice(options)}
        )
    return {"answers": answers}


_ANSWERS = {
    "events": _events,
    "event_caption": _event_caption,
    "global_caption": _global_caption,
    "questions": _questions,
    "agreed_caption": _agreed_caption,
    "answers": _answers,
    "compare": _compare,
    "blind": _blind,
}
