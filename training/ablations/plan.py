"""The configuration of ablations: rows are data. A row is a set of overrides of the small model's recipe. Pure.

All rows start from the same weights and learn from the same stories for the same number of steps. Equal steps and not equal time: a row
then sees what every other row sees, the learning rate's schedule has the same shape, and the result depends neither on the machine's
load nor on where a run was interrupted. The paper compares rows so, too (one epoch each). The number of steps is what the first row
takes ten minutes of one core for; each row's own time is in the results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from afterview.configs import ConfigError, Schema, UsageError, load, read_yaml
from afterview.configs.loader import PRESETS, load_mapping
from afterview.configs.suggestions import did_you_mean
from afterview.training.evaluation.judge import NEEDLES
from afterview.training.evaluation.plan import WorldTest
from afterview.training.tiny.recipe import Recipe

SHIPPED: Final = PRESETS.parent / "training" / "ablations.yaml"
_PAPERS: Final = ("TempCompass", "LongVideoBench", "LVBench")


class PaperRow(Schema):
    """What the paper has for a row: accuracies in percent (arXiv 2506.05332), or words where it gives no figures."""

    figures: tuple[float, ...] = ()  # TempCompass, LongVideoBench, LVBench; or those that `of` names
    of: tuple[str, ...] = _PAPERS
    says: str = ""
    points: float | None = None  # its difference in points, where it gives only that
    direction: Literal["lower", "higher"] | None = (
        None  # against the row that it is compared with, where it gives no figures
    )

    @model_validator(mode="after")
    def _paired(self) -> "PaperRow":
        if self.figures and len(self.figures) != len(self.of):
            raise ValueError(f"{len(self.figures)} figures of {len(self.of)} benchmarks")
        return self


class RowPlan(Schema):
    """One row. The keys of `recipe` replace those of the base recipe; a mapping is merged."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    label: str  # for people
    group: str  # the table it belongs to
    against: str | None = None  # the row that it is compared with; null: the first row
    recipe: dict[str, Any] = Field(default_factory=dict)
    rotary: bool = True
    use_memaug: bool = True
    paper: PaperRow | None = None
    note: str = ""  # why its figure departs from the paper's, where that was examined


class WorldsPlan(Schema):
    """The worlds that all rows are asked about; seeds that no training and no choice has used."""

    seeds: tuple[int, int]  # first and last
    frames: int = 2000
    questions: int = 40  # per world
    kinds: tuple[str, ...] = ()  # empty: all

    @model_validator(mode="after")
    def _ordered(self) -> "WorldsPlan":
        if self.seeds[0] > self.seeds[1]:
            raise ValueError(f"seeds: {self.seeds[0]} comes after {self.seeds[1]}; give the first and the last")
        if self.questions < 1 or (self.kinds and not set(self.kinds) & set(NEEDLES)):
            raise ValueError(f"rows are compared by needles; ask questions of at least one of {', '.join(NEEDLES)}")
        return self

    def test(self) -> WorldTest:
        """The test."""
        seeds = range(self.seeds[0], self.seeds[1] + 1)
        return WorldTest(seeds, frames=self.frames, questions=self.questions, kinds=self.kinds)


class AblationsConfig(Schema):
    """configs/training/ablations.yaml."""

    recipe: str  # of the small model; a file beside this one
    start: str  # weights after "sentences"; a file beside this one. They are made where it is missing
    changes: dict[str, Any]  # of the recipe, for all rows
    # The first for all rows; the others for rows within `close` of the row that they are compared with.
    seeds: tuple[int, ...] = Field(min_length=1)
    close: float = Field(default=0.05, ge=0, le=1)
    worlds: WorldsPlan
    groups: dict[str, str]  # by name: the title of a table
    rows: tuple[RowPlan, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> "AblationsConfig":
        names = [row.name for row in self.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rows are called '{twice[0]}'")
        for row in self.rows:
            if row.group not in self.groups:
                raise ValueError(f"row '{row.name}': groups has no '{row.group}'")
            if row.against is not None and row.against not in names:
                raise ValueError(f"row '{row.name}' is compared with '{row.against}', which is no row")
        return self

    def against(self, row: RowPlan) -> str | None:
        """Name of the row that a row is compared with; None for one that is compared with none."""
        name = row.against or self.rows[0].name
        return None if name == row.name else name


@dataclass(frozen=True)
class Ablations:
    """A configuration that was read, with the recipe that it changes. start: where the shared weights are, or would be."""

    config: AblationsConfig
    base: Mapping[str, Any]  # keys of the recipe, for all rows
    start: Path

    def recipe(self, row: RowPlan | None = None) -> Recipe:
        """The recipe of a row; None: what all rows share. Raises ConfigError naming the row for keys that no recipe has."""
        values = merged(merged(self.base, self.config.changes), {} if row is None else row.recipe)
        where = "changes" if row is None else f"row '{row.name}'"
        return load_mapping(values, Recipe, source=where)

    def rows(self, names: Sequence[str] = ()) -> list[RowPlan]:
        """The rows of these names, in the configuration's order; all without names. Raises UsageError for an unknown one."""
        known = [row.name for row in self.config.rows]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
                raise UsageError(f"--rows {name}: there is no such row{hint}")
        return [row for row in self.config.rows if not names or row.name in names]


def read_ablations(path: Path) -> Ablations:
    """Read a configuration and the recipe that it names. All rows are checked. Raises ConfigError."""
    config = load(path, AblationsConfig)
    recipe = path.parent / config.recipe
    base = read_yaml(recipe)
    if not isinstance(base, dict):
        raise ConfigError(f"{recipe}: holds no recipe")
    found = Ablations(config, base, path.parent / config.start)
    config.worlds.test()  # raises for kinds and seeds that no world has
    for row in config.rows:
        found.recipe(row)
    return found


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes. Mappings are merged, everything else is replaced."""
    both = dict(values)
    for key, change in changes.items():
        there = both.get(key)
        both[key] = merged(there, change) if isinstance(there, Mapping) and isinstance(change, Mapping) else change
    return both
