"""Worlds that were never trained on, as H.264 files, taken in by the session that takes in everything, and asked about.

A memory that is there already is asked again and not made anew, so that another model with the same encoders, or more questions, cost no
second ingest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final, Literal

from memory.directory import Memory
from memory.recall import RecallConfig
from model.loaded import AfterimageModel, Encoders
from stream.address import parse_source
from stream.answer import Answerer
from stream.answer import Question as Asked
from stream.ingest_config import IngestConfig
from stream.session import Session
from stream.session import run as run_loop
from training.errors import WorldError
from training.evaluation.tables import Outcome
from training.world import (
    Question,
    QuestionPlan,
    World,
    WorldConfig,
    multiple_choice,
    questions_at,
    settled_time,
    split_of,
)  # fmt: skip
from training.world.facts import KINDS
from training.world.story import Script
from training.world.video import VideoFormat, write_video

START: Final = 1_767_225_600.0  # Unix time at which every story begins: 2026-01-01, midnight UTC
VIDEO_RATE: Final = (
    2  # frames per second of the files: twice what is sampled, so that choosing frames is part of the test
)
RecallMode = Literal["bounded", "full", "decayed"]
_PRESENT: Final = ("now", "scene now")  # asked while something is on show, where that can be
Report = Callable[[str], None]


@dataclass(frozen=True)
class WorldTest:
    """What is asked of which worlds. One frame is one second."""

    seeds: Sequence[int]
    frames: int = 2000
    questions: int = 30  # per world
    kinds: Sequence[str] = KINDS
    pairs: Literal["seen", "held-out", "all"] = "seen"
    held_out_wordings: bool = False
    choices: int = 0  # lettered answers that every question offers; 0: none
    recall: Sequence[RecallMode] = ("bounded",)

    def world(self, seed: int) -> World:
        """The world of a seed. Raises WorldError for a seed that training draws from."""
        if split_of(seed) == "train":
            raise WorldError(f"seed {seed} belongs to the training split; give one below {2**32}")
        return World(seed, float(self.frames), config=WorldConfig(pairs=self.pairs))

    def camera(self, seed: int) -> str:
        """The camera that holds a world's frames."""
        return f"world-{seed}-{self.frames}-{self.pairs}"


def take_in(test: WorldTest, encoders: Encoders, directory: Path, *, report: Report) -> None:
    """Render, encode and ingest every world that is not in `directory`/memory yet."""
    directory.mkdir(parents=True, exist_ok=True)
    memory = directory / "memory"
    for number, seed in enumerate(test.seeds, 1):
        if _holds(memory, test.camera(seed), test.frames):
            continue
        world, path = test.world(seed), directory / f"{test.camera(seed)}.mp4"
        write_video(world, path, video=VideoFormat(rate=VIDEO_RATE))
        run_loop(_replay(path, memory, test.camera(seed), encoders))
        path.unlink()  # the truth beside it stays
        report(f"world {number} of {len(test.seeds)}: seed {seed}, {test.frames} frames taken in")


def ask_all(test: WorldTest, model: AfterimageModel, directory: Path, *, report: Report) -> Iterator[Outcome]:
    """Put every question under every recall mode."""
    memory = Memory(directory / "memory")
    answerers = {mode: Answerer(memory, with_recall(model, mode)) for mode in test.recall}
    for number, seed in enumerate(test.seeds, 1):
        script = test.world(seed).script
        for question in questions_for(script, test):
            for mode, answerer in answerers.items():
                yield _ask(answerer, mode, test, seed, question)
        report(f"world {number} of {len(test.seeds)}: asked")


def questions_for(script: Script, test: WorldTest) -> list[Question]:
    """A world's questions: as of its end, and about the present while something is on show."""
    end = settled_time(script, script.duration_s)
    lasting = [event for event in script.events if event.end_s - event.start_s >= 3]
    rng = Random(f"afterimage evaluation 1, world {script.seed}")
    present = [kind for kind in test.kinds if kind in _PRESENT]
    others = [kind for kind in test.kinds if kind not in _PRESENT]
    asked: list[Question] = []
    if present:
        moment = end if not lasting or rng.random() < 0.4 else rng.choice(lasting[-3:]).end_s - 0.5
        share = max(1, round(test.questions * len(present) / len(test.kinds)))
        asked += _draw(script, settled_time(script, moment), present, share, test)
    if others:
        asked += _draw(script, end, others, test.questions - len(asked), test)
    if test.choices:
        asked = [multiple_choice(question, options=test.choices) for question in asked if question.wrong]
    return asked


def with_recall(model: AfterimageModel, mode: RecallMode) -> AfterimageModel:
    """The model under a recall mode: its own budget, everything, or nothing but the decayed frames."""
    if mode == "bounded":
        return model
    visible = model.preset.forgetting.max_frames
    recall = (
        RecallConfig(budget=10**9, window=0, nearest=1)
        if mode == "full"
        else RecallConfig(budget=visible, window=0, nearest=0)
    )
    return replace(model, preset=model.preset.model_copy(update={"recall": recall}))


def _draw(script: Script, at: float, kinds: Sequence[str], count: int, test: WorldTest) -> list[Question]:
    plan = QuestionPlan(count=count, kinds=tuple(kinds), held_out_wordings=test.held_out_wordings, seed=script.seed)
    return questions_at(script, at, plan)


def _ask(answerer: Answerer, mode: str, test: WorldTest, seed: int, question: Question) -> Outcome:
    answer = answerer.ask(Asked(question.text, (test.camera(seed),), at=START + question.at_s, evidence=1))
    evidence = answer.evidence
    when = evidence[0].time - START if evidence else None
    return Outcome(seed, test.frames, mode, question, answer.text, when, answer.total_s)


def _holds(memory: Path, camera: str, frames: int) -> bool:
    if not memory.exists() or camera not in Memory(memory).camera_ids():
        return False
    found = len(Memory(memory).camera(camera).snapshot().times)
    if found != frames:
        raise WorldError(f"{memory}: camera '{camera}' holds {found} frames, not {frames}; delete it to begin anew")
    return True


async def _replay(path: Path, memory: Path, camera: str, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        session.add(camera, IngestConfig(parse_source(str(path)), live=False, start=START))
        await session.run()
