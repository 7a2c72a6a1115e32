"""Which needles are asked where: cells of length, depth, recall mode and position policy. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from afterview.memory.plans.positions import Policy
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.recall_modes import RecallMode, check_recall, recall_called

Scoring = Literal["letter", "options"]
Task = Literal["single", "multi"]
LENGTHS: Final = (*range(1000, 10_001, 1000), 100_000)
DEPTHS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
FULL_LENGTHS: Final = (1000, 5000, 10_000)  # full recall attends to every frame, so it is asked of fewer cells
LONGEST: Final = 1_000_000  # frames of a haystack: 11 days at one a second
LONGEST_FULL: Final = 10_000  # frames under full recall; more is left out
_SHORTEST: Final = 100
HOPS: Final = {1: 31, 2: 28, 3: 41}  # items of each number of hops, as published


@dataclass(frozen=True)
class Way:
    """How the model is run: a recall mode and a position policy."""

    recall: RecallMode
    positions: Policy

    @property
    def name(self) -> str:
        """For ids and tables: `bounded recall, interpolate positions`."""
        return f"{recall_called(self.recall)}, {self.positions} positions"


@dataclass(frozen=True)
class Cell:
    """One task at one place. depth: of a single hop, 0 to 1; hops: of several, 1 to 3."""

    task: Task
    way: Way
    frames: int
    depth: float = 0.0
    hops: int = 0

    @property
    def name(self) -> str:
        """For ids."""
        where = f"depth {self.depth:g}" if self.task == "single" else f"{self.hops} hops"
        return f"{self.task}/{self.way.recall}/{self.way.positions}/{self.frames}/{where}"


@dataclass(frozen=True)
class NeedleTest:
    """All cells, and how many items each gets. Raises BenchmarkError for what cannot be asked.

    items: of each cell of a single hop; full_items: the same under full recall, and of each number of hops there. multi: items of each
    number of hops. full_lengths: only these lengths are asked under full recall, as far as they are in `lengths`.
    """

    recall: Sequence[RecallMode] = ("bounded",)
    positions: Sequence[Policy] = ("interpolate",)
    lengths: Sequence[int] = LENGTHS
    depths: Sequence[float] = DEPTHS
    tasks: Sequence[Task] = ("single", "multi")
    items: int = 20
    full_items: int = 5
    full_lengths: Sequence[int] = FULL_LENGTHS
    hops: Sequence[int] = tuple(HOPS)
    multi: int | None = None  # None: as published
    scoring: Scoring = "letter"
    seed: int = 0  # of the synthetic world
    bank: int = 1000  # background frames, which are repeated

    def __post_init__(self) -> None:
        for mode in self.recall:
            check_recall(mode)
        for length in self.lengths:
            if not _SHORTEST <= length <= LONGEST:
                raise BenchmarkError(f"--frames {length}: a haystack has {_SHORTEST} to {LONGEST} frames")
        for depth in self.depths:
            if not 0 <= depth <= 1:
                raise BenchmarkError(f"--depths {depth:g}: a depth is from 0 (the first frame) to 1 (the last)")
        for name, values in (("--frames", self.lengths), ("--depths", self.depths), ("--hops", self.hops)):
            said = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
            if twice := next((one for one in said if said.count(one) > 1), None):
                raise BenchmarkError(f"{name} {twice}: stands there twice (six digits count)")
        for hops in self.hops:
            if hops not in HOPS:
                raise BenchmarkError(f"--hops {hops}: choose from {', '.join(map(str, HOPS))}")
        for name, count in (("--items", self.items), ("--full-items", self.full_items), ("--multi-items", self.multi)):
            if count is not None and not 1 <= count <= 10_000:
                raise BenchmarkError(f"{name} {count}: give a number from 1 to 10000")
        if not 16 <= self.bank <= 100_000:
            raise BenchmarkError(f"--bank {self.bank}: give a number of background frames from 16 to 100000")
        if not 0 <= self.seed < 2**31:
            raise BenchmarkError(f"--seed {self.seed}: give a number from 0 to {2**31 - 1}; others belong to training")
        if not self.ways or not any(self._lengths(way) for way in self.ways):
            allowed = ", ".join(map(str, self.full_lengths))
            raise BenchmarkError(
                f"nothing is left to ask: full recall is asked at {allowed} frames only (--full-frames)"
            )

    @property
    def ways(self) -> list[Way]:
        """Every recall mode with every position policy."""
        return [Way(mode, policy) for mode in self.recall for policy in self.positions]

    def cells(self, tasks: Sequence[Task] | None = None) -> Iterator[Cell]:
        """In order of length: short haystacks first."""
        for length in sorted(set(self.lengths)):
            for way in self.ways:
                if length not in self._lengths(way):
                    continue
                for task in self.tasks if tasks is None else tasks:
                    if task == "single":
                        yield from (Cell(task, way, length, depth=depth) for depth in self.depths)
                    else:
                        yield from (Cell(task, way, length, hops=hops) for hops in self.hops)

    @property
    def left_out(self) -> list[int]:
        """Lengths that are asked under other recall modes, and not under full recall."""
        full = next((way for way in self.ways if way.recall == "full"), None)
        return [] if full is None else sorted(set(self.lengths) - self._lengths(full))

    def count(self, cell: Cell) -> int:
        """How many items are asked in a cell."""
        if cell.task == "single":
            return min(self.items, self.full_items) if cell.way.recall == "full" else self.items
        most = HOPS[cell.hops] if self.multi is None else self.multi
        return min(most, self.full_items) if cell.way.recall == "full" else most

    def count_of(self, task: Task, items: "Items") -> int:
        """How many items of a task there are to ask."""
        if task == "single":
            return len(items.single)
        return sum(item.hops in self.hops for item in items.multi)

    def _lengths(self, way: Way) -> set[int]:
        if way.recall != "full":
            return set(self.lengths)
        return {length for length in self.lengths if length in self.full_lengths and length <= LONGEST_FULL}

    def settings(self) -> dict[str, Any]:
        """What may change an answer or a score, JSON-able. Cells are not among it: a run may be given more of them later."""
        return {"scoring": self.scoring, "bank": self.bank}


@dataclass(frozen=True)
class Asked:
    """One question about a haystack. text: as it is asked; stem: without its options; recall: what frames are recalled by.

    decoy: letter of the option that describes the last picture of the decoys, which has no clue either; empty if none does.
    """

    name: Literal["needle", "caption", "final"]
    text: str
    stem: str
    recall: str
    options: dict[str, str] = field(default_factory=dict)  # letter -> text
    letter: str = ""
    decoy: str = ""


@dataclass(frozen=True)
class NeedleItem:
    """One needle, or the pictures of a chain with its decoys in the order of time. pictures: keys of pictures. kind: for tables."""

    id: str
    kind: str
    hops: int  # 0: a single hop
    pictures: tuple[str, ...]
    asked: tuple[Asked, ...]


class Items(Protocol):
    """What count_of needs of a set of items."""

    single: list[NeedleItem]
    multi: list[NeedleItem]


def places(cell: Cell, pictures: int) -> list[int]:
    """Before which frame of the haystack each picture is inserted, ascending.

    A single one at int(depth * N). Several at equal distances of N / (K - 1): the first before frame 0, the last after frame N - 1.
    """
    if cell.task == "single":
        return [int(cell.depth * cell.frames)]
    return [round(number * cell.frames / (pictures - 1)) for number in range(pictures)]
