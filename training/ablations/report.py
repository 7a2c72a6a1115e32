"""The figures of ablations: one document (JSON-able) and its tables beside the paper's. Pure.

Each row is compared with another one answer by answer, over the same questions and seeds; the interval is that of the paired
difference, so it does not cover what another seed of the training would change. Rows with several seeds say so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from afterview.training.ablations.ask import SCORES, majority
from afterview.training.ablations.plan import Ablations, PaperRow, RowPlan
from afterview.training.ablations.records import FORMAT, Run, questions_of
from afterview.training.evaluation.intervals import Difference, difference_of, mean_of

_DEPARTURES: Final = 2  # that the report names
_DASH: Final = "-"


@dataclass(frozen=True)
class Comparison:
    """A row against another, over the seeds that both have. paper: the paper's difference in points, None without one."""

    row: str
    against: str
    seeds: tuple[int, ...]
    needles: Difference
    paper: float | None
    direction: str | None  # of the paper: lower, higher

    @property
    def ours(self) -> str | None:
        """lower, higher, or None if the interval holds 0."""
        return "lower" if self.needles.high < 0 else "higher" if self.needles.low > 0 else None

    @property
    def verdict(self) -> str:
        """How the direction compares with the paper's."""
        if self.direction is None:
            return _DASH
        return "unclear" if self.ours is None else "same" if self.ours == self.direction else "opposite"

    @property
    def departure(self) -> float:
        """How far it is from the paper, in points; 0 where the direction is the same and the paper gives no figure."""
        ours = 100 * self.needles.value
        if self.paper is not None:
            return abs(ours - self.paper)
        return 0.0 if self.verdict in ("same", _DASH) else abs(ours)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "row": self.row, "against": self.against, "seeds": list(self.seeds), "needles": self.needles.to_dict(),
            "paper_points": self.paper, "paper_direction": self.direction, "verdict": self.verdict,
        }  # fmt: skip


def comparisons(ablations: Ablations, runs: Sequence[Run]) -> dict[str, Comparison]:
    """Every row that has a run of the same seed as the row it is compared with, by name."""
    found = {}
    by_name = {row.name: row for row in ablations.config.rows}
    for row in ablations.config.rows:
        other = ablations.config.against(row)
        if other is None:
            continue
        pairs = [(a, b) for a in runs for b in runs if (a.row, b.row) == (other, row.name) and a.seed == b.seed]
        scores = [score for a, b in pairs for score in _paired(a, b)]
        if scores:
            paper, direction = paper_difference(row.paper, by_name[other].paper)
            seeds, needles = tuple(a.seed for a, _ in pairs), difference_of(*map(list, zip(*scores, strict=True)))
            found[row.name] = Comparison(row.name, other, seeds, needles, paper, direction)
    return found


def close_rows(ablations: Ablations, runs: Sequence[Run], rows: Sequence[RowPlan]) -> list[RowPlan]:
    """Those of the rows whose difference is within `close` by the first seed, each after the row that it is compared with."""
    config = ablations.config
    compared = comparisons(ablations, [run for run in runs if run.seed == config.seeds[0]])
    found: dict[str, RowPlan] = {}
    for row in rows:
        one = compared.get(row.name)
        if one is not None and abs(one.needles.value) <= config.close:
            found |= {row.name: row for row in ablations.rows([one.against, row.name])}
    return list(found.values())


def paper_difference(row: PaperRow | None, other: PaperRow | None) -> tuple[float | None, str | None]:
    """The paper's difference in points, and its direction; None where it gives none."""
    if row is None:
        return None, None
    points = row.points
    if row.figures and other is not None and other.figures and row.of == other.of:
        points = round(fmean(row.figures) - fmean(other.figures), 2)
    if points:
        return points, "higher" if points > 0 else "lower"
    return None, row.direction


def document(ablations: Ablations, runs: Sequence[Run], shared: Mapping[str, Any]) -> dict[str, Any]:
    """All figures, JSON-able. shared: what holds for all runs, such as fingerprints."""
    compared, questions = comparisons(ablations, runs), questions_of(runs)
    return {
        "format": FORMAT, **shared, "worlds": ablations.config.worlds.model_dump(mode="json"),
        "needles_majority": round(majority(runs[0].rows), 4) if runs else None,
        "comparisons": [one.to_dict() for one in compared.values()],
        "runs": [run.to_dict(list(questions)) for run in runs], "questions": questions,
    }  # fmt: skip


def markdown(ablations: Ablations, runs: Sequence[Run], shared: Mapping[str, Any]) -> str:
    """The report for people."""
    config, compared = ablations.config, comparisons(ablations, runs)
    lines = ["# Ablations of the small model", "", *_opening(ablations, runs, shared)]
    for group, title in config.groups.items():
        rows = [row for row in config.rows if row.group == group]
        first = config.rows[0]
        lines += ["", f"## {title}", "", *_HEAD]
        lines += [_line(row, ablations, runs, compared) for row in _with_first(rows, first)]
    lines += ["", "## Departures from the paper", "", *_departures(ablations, compared)]
    return "\n".join(lines) + "\n"


_HEAD: Final = (
    "| row | seeds | needles | against | difference, points | all kinds | evidence | CPU minutes | paper | direction |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def _opening(ablations: Ablations, runs: Sequence[Run], shared: Mapping[str, Any]) -> list[str]:
    worlds = ablations.config.worlds
    asked = len(runs[0].rows) if runs else 0
    needles = sum("needles" in row.scores for row in runs[0].rows) if runs else 0
    usual = f"{majority(runs[0].rows):.2f}" if runs else _DASH
    rows, seeds = ablations.config.rows, ablations.config.seeds
    further = len(close_rows(ablations, runs, rows)) * (len(seeds) - 1)
    again = sum(run.seed != seeds[0] for run in runs)
    return [
        f"`afterview evaluate ablations` wrote this file: {len({run.row for run in runs})} of {len(rows)} rows are done with the first",
        f"seed, and {again} of {further} runs with further seeds.",
        f"Every row starts from the same weights and takes {shared['steps']} steps over the same stories (equal steps, not equal time:",
        "`training/ablations/plan.py` says why); its own minutes of one core are in the table. Then it is asked",
        f"{asked} questions about the worlds {worlds.seeds[0]} to {worlds.seeds[1]} of {worlds.frames:,} frames, with bounded recall.",
        f"Needles are the {needles} of them whose answer lies in one moment; each kind's most common answer is right in {usual}.",
        "Intervals are 95 %: Wilson's for shares, Newcombe's for paired differences. They do not cover other seeds of",
        f"the training; rows within {100 * ablations.config.close:g} points of what they are compared with get further seeds.",
        "A difference is this row minus that one, over the seeds that both have. Evidence: the share of right answers whose heaviest",
        "frame lies in the moment. The paper's figures are its TempCompass, LongVideoBench and LVBench (spatial: MMStar, ScienceQA,",
        "RealWorldQA), of models of 3B on real video: only directions compare. Its direction is that of the mean of its figures; ours is",
        "unclear where the interval holds 0.",
    ]


def _with_first(rows: Sequence[RowPlan], first: RowPlan) -> list[RowPlan]:
    return [*([] if first in rows else [first]), *rows]


def _line(row: RowPlan, ablations: Ablations, runs: Sequence[Run], compared: Mapping[str, Comparison]) -> str:
    own = [run for run in runs if run.row == row.name]
    paper = _DASH if row.paper is None else row.paper.says or "/".join(f"{figure:g}" for figure in row.paper.figures)
    if not own:
        return f"| {row.label} | {_DASH} | not run yet | | | | | | {paper} | |"
    scores = {
        name: mean_of([one.scores[name] for run in own for one in run.rows if name in one.scores]) for name in SCORES
    }
    needles, against = scores["needles"], compared.get(row.name)
    minutes = fmean(float(run.facts["cpu_s"]) for run in own) / 60
    evidence = f"{scores['evidence'].value:.2f}" if scores["evidence"].n else _DASH
    step = _DASH if against is None else _points(against.needles)
    labels = {one.name: one.label for one in ablations.config.rows}
    return (
        f"| {row.label} | {len(own)} | {needles.value:.3f} ({needles.low:.2f}-{needles.high:.2f}) | "
        f"{_DASH if against is None else labels[against.against]} | {step} | {scores['right'].value:.3f} | {evidence} | {minutes:.1f} | "
        f"{paper} | "
        f"{_DASH if against is None else against.verdict} |"
    )


def _points(found: Difference) -> str:
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _departures(ablations: Ablations, compared: Mapping[str, Comparison]) -> list[str]:
    by_name = {row.name: row for row in ablations.config.rows}
    far = sorted(compared.values(), key=lambda one: (one.verdict != "opposite", -one.departure))
    lines = []
    for one in [one for one in far if one.departure > 0][:_DEPARTURES]:
        row = by_name[one.row]
        paper = f"{one.paper:+.1f} points" if one.paper is not None else f"{one.direction}"
        why = row.note.strip() or "Not examined yet."
        lines.append(
            f"- **{row.label}** against {by_name[one.against].label}: here {_points(one.needles)}, in the paper {paper}. {why}"
        )
    noted = [row for row in ablations.config.rows if row.note and not any(row.label in line for line in lines)]
    lines += [f"- {row.label}: {row.note.strip()}" for row in noted]
    return lines or ["No row of the paper has been compared yet."]


def _paired(first: Run, second: Run) -> list[tuple[float, float]]:
    there = {row.id: row.scores["needles"] for row in first.rows if "needles" in row.scores}
    return [
        (there[row.id], row.scores["needles"]) for row in second.rows if row.id in there and "needles" in row.scores
    ]
