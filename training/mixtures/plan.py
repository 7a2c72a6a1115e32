"""The configuration of mixtures: configs/training/mixtures.yaml. Pure.

All mixtures start from the same weights and take the same number of steps, with batches of the same size: the same number of questions and
of frames. Equal steps and not equal time, for the reasons of training.ablations.plan; the number of steps is what takes 30 minutes of one
core, and the results have each mixture's own CPU time.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import Field, model_validator

from afterview.configs import ConfigError, Schema, load
from afterview.configs.loader import PRESETS
from afterview.training.ablations.plan import Ablations, RowPlan, merged, read_ablations
from afterview.training.marathon.config import MarathonConfig
from afterview.training.tiny.recipe import Recipe
from afterview.training.world.config import WorldConfig

SHIPPED: Final = PRESETS.parent / "training" / "mixtures.yaml"
TRAIN, HELD_OUT = "train", "held-out"
_NAME: Final = r"^[a-z0-9][a-z0-9-]*$"


class LengthPlan(Schema):
    """Worlds of one length."""

    seconds: tuple[float, float]  # shortest and longest; log-uniform, whole seconds
    world: WorldConfig = WorldConfig()

    @model_validator(mode="after")
    def _ordered(self) -> "LengthPlan":
        if not 40 <= self.seconds[0] <= self.seconds[1] <= 86_400:
            raise ValueError(f"seconds is {self.seconds}; give two ascending numbers from 40 to 86400")
        if self.world.hidden or self.world.changing:
            raise ValueError("the bank shows nothing that is hidden or changes; leave `hidden` and `changing` at 0")
        return self


class LessonConfig(Schema):
    """A batch: worlds of one length, with questions about each."""

    stories: int = Field(ge=1)  # worlds
    questions: int = Field(ge=1)  # about each
    frames: int = Field(ge=12)  # of each that MemAug may attend to; those that prove the answers come first
    tokens_read: int | None = Field(default=None, ge=1, le=64)  # per frame, drawn anew in each step; None: all
    window: int = Field(default=8, ge=0)  # newest frames, always included


class MixturePlan(Schema):
    """One mixture. shares: of the batches, by name of a length; they are divided by their sum."""

    name: str = Field(pattern=_NAME)
    label: str
    shares: dict[str, float]


class MixturesConfig(Schema):
    """configs/training/mixtures.yaml."""

    ablations: (
        str  # the file of the ablations, beside this one: encoders, bank of frames and the weights that all start from
    )
    recipe: dict[str, Any] = Field(default_factory=dict)  # overrides of its recipe
    seed: int = Field(default=1, ge=0)
    first_seed: int = Field(ge=0)  # of the worlds
    lengths: dict[str, LengthPlan] = Field(min_length=1)
    worlds: int = Field(ge=1)  # to train on, of each length
    held_out: int = Field(ge=1)  # to ask about, of each length
    held_out_scenery: int = Field(ge=1)  # seeds of the bank whose frames only held-out worlds show
    pipeline: MarathonConfig
    lesson: LessonConfig
    longest_question: int = Field(default=96, ge=8)  # tokens, options included; longer ones are left out, and counted
    longest_answer: int = Field(default=24, ge=1)  # tokens
    asked: int = Field(ge=1)  # questions of each form about each held-out world
    paper: str  # name of the mixture that the paper found best
    note: str = ""  # what was examined of the figures; in the table
    mixtures: tuple[MixturePlan, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> "MixturesConfig":
        names = [mixture.name for mixture in self.mixtures]
        if len(set(names)) < len(names):
            raise ValueError(f"two mixtures are called '{max(names, key=names.count)}'")
        if self.paper not in names:
            raise ValueError(f"paper: there is no mixture '{self.paper}'")
        for mixture in self.mixtures:
            if unknown := [name for name in mixture.shares if name not in self.lengths]:
                raise ValueError(f"mixture '{mixture.name}': lengths has no '{unknown[0]}'")
            if not sum(mixture.shares.values()) > 0 or min(mixture.shares.values()) < 0:
                raise ValueError(f"mixture '{mixture.name}': its shares must be 0 or more, and one above 0")
        return self


@dataclass(frozen=True)
class Mixtures:
    """A configuration that was read, with the ablations whose start it shares, its recipe changed."""

    config: MixturesConfig
    ablations: Ablations

    @staticmethod
    def row(mixture: MixturePlan) -> RowPlan:
        """A mixture as a row of ablations, for training.ablations.train."""
        return RowPlan(name=mixture.name, label=mixture.label, group="mixtures")

    def recipe(self) -> Recipe:
        """The recipe of all mixtures. Raises ConfigError for keys that no recipe has."""
        return self.ablations.recipe()


def read_mixtures(path: Path) -> Mixtures:
    """Read a configuration and the ablations that it names. Raises ConfigError."""
    config = load(path, MixturesConfig)
    ablations = read_ablations(path.parent / config.ablations)
    changed = ablations.config.model_copy(update={"changes": merged(ablations.config.changes, config.recipe)})
    found = Mixtures(config, replace(ablations, config=changed))
    recipe = found.recipe()
    if config.held_out_scenery >= recipe.bank.seeds:
        raise ConfigError(
            f"{path}: held_out_scenery is {config.held_out_scenery}, and the bank has {recipe.bank.seeds} seeds"
        )
    return found


def length_of_batch(mixture: MixturePlan, number: int) -> str:
    """The length whose worlds batch `number` shows: all of one length, as the paper's batches, and evenly mixed in order."""
    total, reached = sum(mixture.shares.values()), 0.0
    place = (number * _STEP + _STEP / 2) % 1.0 * total
    for name, share in mixture.shares.items():
        reached += share
        if place < reached:
            return name
    return list(mixture.shares)[-1]


_STEP: Final = 0.6180339887498949  # the golden ratio's part: any run of batches has nearly the shares
