"""Measures the checks: the pipeline on synthetic video with a captioner that makes mistakes at known rates, judged by the truth.

    afterview marathon measure --videos WORLDS --out DIR

wrong      questions that the truth contradicts, or to which it has no certain answer
caught     share of the wrong ones that the checks reject
lost       share of the right ones that they reject (near duplicates are right, and not counted)
captions   the same with the checks that know the captions alone: no further look at the video

Intervals are 95 % (Wilson); questions of one video are not independent of each other, so they are narrower than they should be.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.memory.base.durable import make_directory, write_file
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.base.shares import wilson
from afterview.training.marathon.config import MarathonConfig
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.worlds.exact import Truths
from afterview.training.marathon.worlds.faulty_writer import FAULTS, fault_of
from afterview.training.marathon.worlds.judge import judge

RATES: Final = (0.05, 0.1, 0.2)
LOOKS: Final = 3
WRITER_RATE: Final = 0.3
KINDS: Final = ("drop", "swap", "hallucinate")
_NOT_CAPTIONS: Final = frozenset({"looks", "unchecked"})
_NOT_WRONG: Final = frozenset({"duplicate"})  # rejected, but not for being wrong


@dataclass
class Measured:
    """Counts of one run. reasons: of the wrong questions that were caught, and of the right ones that were lost."""

    name: str
    rates: dict[str, float]
    questions: int = 0
    duplicates: int = 0
    wrong: int = 0
    caught: int = 0
    caught_by_captions: int = 0
    right: int = 0
    lost: int = 0
    lost_by_captions: int = 0
    kept: int = 0
    kept_wrong: int = 0
    tasks: int = 0
    whys: Counter[str] = field(default_factory=Counter)
    caught_reasons: Counter[str] = field(default_factory=Counter)
    lost_reasons: Counter[str] = field(default_factory=Counter)

    def add(self, row: Checked, why: str) -> None:
        """Count a question. why: what is wrong with it by the truth."""
        self.questions += 1
        self.kept += row.kept
        reasons = [reason for reason in row.reasons if reason not in _NOT_WRONG]
        by_captions = [reason for reason in reasons if reason not in _NOT_CAPTIONS]
        if row.reasons and not reasons:
            self.duplicates += 1
            return
        if why:
            self.wrong += 1
            self.whys[why] += 1
            self.caught += bool(reasons)
            self.caught_by_captions += bool(by_captions)
            self.kept_wrong += row.kept
            self.caught_reasons.update(reasons)
        else:
            self.right += 1
            self.lost += bool(reasons)
            self.lost_by_captions += bool(by_captions)
            self.lost_reasons.update(reasons)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with shares."""
        return {
            "name": self.name, "rates": self.rates, "questions": self.questions, "duplicates": self.duplicates, "tasks": self.tasks,
            "wrong": self.wrong, "caught": _share(self.caught, self.wrong), "caught_interval": _interval(self.caught, self.wrong),
            "caught_by_captions": _share(self.caught_by_captions, self.wrong),
            "right": self.right, "lost": _share(self.lost, self.right), "lost_interval": _interval(self.lost, self.right),
            "lost_by_captions": _share(self.lost_by_captions, self.right),
            "kept": self.kept, "kept_right": _share(self.kept - self.kept_wrong, self.kept), "whys": dict(self.whys.most_common()),
            "caught_reasons": dict(self.caught_reasons.most_common()), "lost_reasons": dict(self.lost_reasons.most_common()),
        }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _interval(part: int, whole: int) -> list[float] | None:
    return [round(end, 4) for end in wilson(part, whole)] if whole else None


def measure(
    videos: Path,
    out: Path,
    *,
    rates: Sequence[float] = RATES,
    looks: int = LOOKS,
    seed: int = 0,
    progress: ShowProgress = unseen,
) -> dict[str, Any]:
    """Run the pipeline for each kind of mistake and each rate, each in a directory of its own below `out`; what is there is continued.
    Then with a writer's faults. Returns what measured.json holds.

    Raises UsageError for videos without truth.
    """
    found = []
    for name, mistakes in _runs(rates):
        place = out / name.replace(" ", "-").replace("%", "")
        make_directory(place)
        config = place / "run.yaml"
        write_file(config, json.dumps(_config(mistakes, looks, seed)).encode())  # JSON is YAML
        run(config, videos, place, progress=progress)
        found.append(_judged(name, mistakes, DataSet(place), videos))
    lines = [one.to_dict() for one in found]
    writer = measure_writer(videos, out, rate=WRITER_RATE, looks=looks, seed=seed, progress=progress).to_dict()
    document = {"looks": looks, "seed": seed, "runs": lines, "writer": writer}
    write_file(out / "measured.json", json.dumps(document, indent=1).encode())
    write_file(out / "measured.md", (table(lines) + "\n" + writer_table(writer)).encode())
    return document


@dataclass
class Spoiled:
    """Faults of a writer, by kind, and how many of them the checks reject. other: sound questions that are rejected."""

    rate: float
    made: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)
    sound: int = 0
    lost: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        faults = {
            fault: {"made": self.made[fault], "caught": _share(self.caught[fault], self.made[fault])}
            for fault in FAULTS
        }
        return {"rate": self.rate, "faults": faults, "sound": self.sound, "lost": _share(self.lost, self.sound)}


def measure_writer(
    videos: Path, out: Path, *, rate: float, looks: int = LOOKS, seed: int = 0, progress: ShowProgress = unseen
) -> Spoiled:
    """Run the pipeline with exact captions and a writer that gives faults to a share of its questions. Continues what is there."""
    made, rows = Spoiled(rate), dict[str, dict[str, Checked]]()
    for name, share in (("writer-exact", 0.0), ("writer-spoiled", rate)):
        place = out / name
        make_directory(place)
        config = _config({}, looks, seed)
        # One round: what a later round avoids depends on what an earlier one asked.
        config["models"]["writer"] = {"kind": "world", "spoil": share}
        config["models"]["checker"] = {"kind": "world"}
        config["questions"] = {"open": 0, "choice": 12}
        write_file(place / "run.yaml", json.dumps(config).encode())
        run(place / "run.yaml", videos, place, progress=progress)
        rows[name] = {row.key: row for row in DataSet(place).rows("checks") if isinstance(row, Checked)}
    for key, row in rows["writer-spoiled"].items():
        fault = fault_of(rows["writer-exact"][key].model_dump(), row.model_dump())
        if fault is None:
            made.sound += 1
            made.lost += not row.kept and not rows["writer-exact"][key].reasons
        else:
            made.made[fault] += 1
            made.caught[fault] += not row.kept
    return made


def _runs(rates: Sequence[float]) -> list[tuple[str, dict[str, float]]]:
    runs: list[tuple[str, dict[str, float]]] = [("exact", {})]
    runs += [(f"{kind} {rate:.0%}", {kind: rate}) for kind in KINDS for rate in rates]
    return [*runs, *((f"all {rate:.0%}", dict.fromkeys(KINDS, rate)) for rate in rates)]


def _config(mistakes: dict[str, float], looks: int, seed: int) -> dict[str, Any]:
    def captioner(number: int) -> dict[str, Any]:
        return {"kind": "world", **mistakes, "seed": 1000 * seed + number}

    exact = {"kind": "world"}
    models = {
        "captioner": captioner(0),
        "writer": exact,
        "looks": [captioner(number) for number in range(1, looks + 1)],
    }
    made = {
        "name": "measured",
        "seed": seed,
        "models": {**models, "blind": exact},
        "questions": {"open": 6, "choice": 6},
    }
    MarathonConfig.model_validate(made)
    return made


def _judged(name: str, mistakes: dict[str, float], data: DataSet, videos: Path) -> Measured:
    truths, made, tasks = Truths(videos), Measured(name, mistakes), set[str]()
    for row in data.rows("checks"):
        if isinstance(row, Checked):
            made.add(row, judge(row, truths.story(row.video)).why)
            if row.kept:
                tasks.add(row.task)
    made.tasks = len(tasks)
    if not made.questions:
        raise UsageError(
            f"{videos}: its videos led to no question; they must last 3 minutes, see `afterview world make`"
        )
    return made


def writer_table(writer: dict[str, Any]) -> str:
    """The writer's faults as Markdown."""
    rows = ["| fault of the writer | made | caught |", "|---|--:|--:|"]
    rows += [f"| {fault} | {one['made']} | {_percent(one['caught'])} |" for fault, one in writer["faults"].items()]
    return "\n".join([*rows, f"| none: lost | {writer['sound']} | {_percent(writer['lost'])} |"]) + "\n"


def _percent(share: float | None, interval: Sequence[float] | None = None) -> str:
    if share is None:
        return "-"
    return f"{share:.1%}" + (f" ({interval[0] * 100:.1f} to {interval[1] * 100:.1f})" if interval else "")


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    rows = [
        "| captioner | questions | wrong | caught | captions alone | right ones lost | captions alone | kept | of them right | tasks |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {one['name']} | {one['questions']} | {one['wrong']} "
        f"| {_percent(one['caught'], one['caught_interval'])} | {_percent(one['caught_by_captions'])} "
        f"| {_percent(one['lost'], one['lost_interval'])} | {_percent(one['lost_by_captions'])} "
        f"| {one['kept']} | {_percent(one['kept_right'])} | {one['tasks']} |"
        for one in lines
    ]
    return "\n".join(rows) + "\n"
