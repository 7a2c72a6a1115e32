"""Which worlds are filmed and what is asked about them: a pure function of a test and a seed. One frame is one second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.evaluation.recall_modes import RecallMode, check_recall
from afterview.training.world import (
    QuestionPlan,
    Script,
    WorldConfig,
    WorldQuestion,
    make_script,
    multiple_choice,
    questions_at,
    settled_time,
    split_of,
)
from afterview.training.world.camera_questions import CAMERA_KINDS, shared_questions_at, shared_settled_time
from afterview.training.world.cameras import SharedStory, make_shared_story
from afterview.training.world.facts import KINDS
from afterview.training.world.rewording import reworded
from afterview.training.world.script import MAX_DURATION_S, MIN_DURATION_S
from afterview.training.world.twist_facts import EVERY_KIND, TWIST_KINDS

VariantName = Literal["plain", "changing", "cameras"]
Pairs = Literal["seen", "held-out", "all"]
_PRESENT: Final = ("now", "scene now")  # asked while something is visible, if possible


@dataclass(frozen=True)
class Variant:
    """A type of world: its name, the default kinds of questions, the possible kinds, and how its stories are drawn."""

    called: str
    kinds: tuple[str, ...]
    possible: tuple[str, ...]
    changing: float = 0.0  # see WorldConfig
    hidden: float = 0.0
    cameras: int = 1


VARIANTS: Final[dict[VariantName, Variant]] = {
    "plain": Variant("worlds", KINDS, EVERY_KIND),
    "changing": Variant("worlds with changes and covers", TWIST_KINDS, EVERY_KIND, changing=1.0, hidden=0.5),
    # three: with two, the question which camera saw a thing next names the other
    "cameras": Variant("stories on three cameras", CAMERA_KINDS, CAMERA_KINDS, cameras=3),
}


@dataclass(frozen=True)
class Footage:
    """What is filmed for one seed. scripts: by camera. memory: the directory that holds the cameras."""

    memory: str
    scripts: dict[str, Script]
    story: SharedStory | None = None  # shared by the cameras

    @property
    def named(self) -> tuple[str, ...]:
        """Cameras that a question names. None for a shared story: the question where a thing was cannot name a camera."""
        return () if self.story else tuple(self.scripts)

    def video(self, camera: str) -> str:
        """Name of a camera's video file, without suffix."""
        return f"{self.memory}-{camera}" if self.story else camera


@dataclass(frozen=True)
class WorldTest:
    """Which questions are asked about which worlds.

    Raises WorldError for seeds of the training split, unknown kinds, and for choices if several cameras answer.
    """

    seeds: Sequence[int]
    frames: int = 2000  # per camera
    questions: int = 30  # per world
    variant: VariantName = "plain"
    kinds: Sequence[str] = ()  # empty: the variant's default
    pairs: Pairs = "seen"
    held_out_wordings: bool = False
    reworded: bool = False  # trained wordings, with words replaced by synonyms
    choices: int = 0  # lettered answers per question; 0: none
    recall: Sequence[RecallMode] = ("bounded",)

    def __post_init__(self) -> None:
        for mode in self.recall:
            check_recall(mode)
        for seed in self.seeds:
            if split_of(seed) == "train":
                raise WorldError(f"seed {seed} belongs to the training split; give one below {2**32}")
        if not MIN_DURATION_S <= self.frames <= MAX_DURATION_S:
            raise WorldError(
                f"{self.frames} frames: a world has {MIN_DURATION_S:g} to {MAX_DURATION_S:g}, one per second"
            )
        variant = VARIANTS[self.variant]
        for kind in self.kinds:
            if kind not in variant.possible:
                there = ", ".join(variant.possible)
                raise WorldError(
                    f"there is no such kind of question as '{kind}' about {variant.called}; there are: {there}"
                )
        if self.choices and variant.cameras > 1:
            raise WorldError(f"{variant.called} offer no choice of answers: every camera answers separately")

    def footage(self, seed: int) -> Footage:
        """The world of a seed."""
        variant = VARIANTS[self.variant]
        config = WorldConfig(pairs=self.pairs, changing=variant.changing, hidden=variant.hidden)
        name = f"{seed}-{self.frames}-{self.pairs}"
        if variant.cameras > 1:
            story = make_shared_story(seed, float(self.frames), variant.cameras, config)
            return Footage(f"story-{name}", dict(zip(story.cameras, story.scripts, strict=True)), story)
        camera = f"world-{name}" if self.variant == "plain" else f"world-{name}-{self.variant}"
        return Footage("memory", {camera: make_script(seed, float(self.frames), config)})


def questions_for(footage: Footage, test: WorldTest) -> list[WorldQuestion]:
    """The questions about a world: at its end, and, for a single camera, about the present while something is visible."""
    asked = _drawn(footage, test)
    if test.reworded:
        rng = seeded(f"evaluation in other words 1, {[script.seed for script in footage.scripts.values()]}")
        asked = [question.model_copy(update={"text": reworded(question.text, rng)}) for question in asked]
    if test.choices:
        asked = [multiple_choice(question, options=test.choices) for question in asked if question.wrong]
    return asked


def _drawn(footage: Footage, test: WorldTest) -> list[WorldQuestion]:
    kinds = tuple(test.kinds) or VARIANTS[test.variant].kinds
    if footage.story is not None:
        at_s = shared_settled_time(footage.story, footage.story.duration_s)
        return shared_questions_at(
            footage.story, at_s, count=test.questions, kinds=kinds, seed=footage.story.seed,
            held_out_wordings=test.held_out_wordings,
        )  # fmt: skip
    (script,) = footage.scripts.values()
    end = settled_time(script, script.duration_s)
    lasting = [event for event in script.events if event.end_s - event.start_s >= 3]
    rng = seeded(f"evaluation 1, world {script.seed}")
    present = [kind for kind in kinds if kind in _PRESENT]
    others = [kind for kind in kinds if kind not in _PRESENT]
    asked: list[WorldQuestion] = []
    if present:
        moment = end if not lasting or rng.random() < 0.4 else rng.choice(lasting[-3:]).end_s - 0.5
        share = max(1, round(test.questions * len(present) / len(kinds)))
        asked += _draw(script, settled_time(script, moment), present, share, test)
    if others:
        asked += _draw(script, end, others, test.questions - len(asked), test)
    return asked


def _draw(script: Script, at: float, kinds: Sequence[str], count: int, test: WorldTest) -> list[WorldQuestion]:
    plan = QuestionPlan(count=count, kinds=tuple(kinds), held_out_wordings=test.held_out_wordings, seed=script.seed)
    return questions_at(script, at, plan)
