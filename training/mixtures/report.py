"""The figures of mixtures: one document (JSON-able) and its tables beside the paper's finding. Pure.

All mixtures are asked the same questions, so they are compared question by question. The intervals are of the questions; they do not cover
what another seed of the training would change.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from afterview.training.evaluation.intervals import Difference, Mean, difference_of, mean_of
from afterview.training.evaluation.results import Row
from afterview.training.mixtures.plan import MixturePlan, MixturesConfig

FORMAT: Final = "afterview mixtures 1"
ALL: Final = "all"


@dataclass(frozen=True)
class Run:
    """A mixture that was trained and asked. document: of its results. rows: its answers."""

    mixture: MixturePlan
    document: Mapping[str, Any]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Comparison:
    """The mixture that the paper found best, minus another one, over the questions of a cell."""

    against: str
    cell: str
    found: Difference

    @property
    def verdict(self) -> str:
        """How the direction compares with the paper's: its mixture is higher."""
        return "same" if self.found.low > 0 else "opposite" if self.found.high < 0 else "unclear"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"against": self.against, "cell": self.cell, **self.found.to_dict(), "verdict": self.verdict}


def cells_of(config: MixturesConfig) -> list[str]:
    """The columns: every length with every form, every length, all."""
    return [*(f"{length} {form}" for length in config.lengths for form in ("open", "choice")), *config.lengths, ALL]


def _in(row: Row, cell: str) -> bool:
    return cell == ALL or cell in (row.groups["cell"], row.groups["length"])


def score(rows: Sequence[Row], cell: str, name: str = "right") -> Mean:
    """The mean of a score over a cell."""
    return mean_of([row.scores[name] for row in rows if name in row.scores and _in(row, cell)])


def commonest(rows: Sequence[Row], cell: str) -> float:
    """Share of right answers of a model that always gives the commonest answer of each task, length and form, over a cell."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in (row for row in rows if _in(row, cell)):
        counts.setdefault((str(row.groups["task"]), str(row.groups["cell"])), Counter())[row.truth] += 1
    asked = sum(one.total() for one in counts.values())
    return sum(one.most_common(1)[0][1] for one in counts.values()) / asked if asked else 0.0


def guessed(rows: Sequence[Row], cell: str) -> float | None:
    """Expected share of right answers of a guess among the options, over the multiple choices of a cell; None without any."""
    chances = [1 / int(row.details["options"]) for row in rows if "options" in row.details and _in(row, cell)]
    return sum(chances) / len(chances) if chances else None


def comparisons(config: MixturesConfig, runs: Sequence[Run]) -> list[Comparison]:
    """The paper's mixture against every other that is done."""
    by_name = {run.mixture.name: run for run in runs}
    best = by_name.get(config.paper)
    if best is None:
        return []
    found = []
    for run in runs:
        if run is best:
            continue
        there = {row.id: row.scores["right"] for row in run.rows}
        for cell in cells_of(config):
            pairs = [(there[row.id], row.scores["right"]) for row in best.rows if row.id in there and _in(row, cell)]
            if pairs:
                found.append(Comparison(run.mixture.name, cell, difference_of(*map(list, zip(*pairs, strict=True)))))
    return found


def document(config: MixturesConfig, runs: Sequence[Run], about: Mapping[str, Any]) -> dict[str, Any]:
    """All figures. about: what holds for all mixtures."""
    return {
        "format": FORMAT, **about,
        "commonest": {cell: round(commonest(runs[0].rows, cell), 4) for cell in cells_of(config)} if runs else {},
        "guessed": {
            cell: round(chance, 4) for cell in cells_of(config) if runs and (chance := _guess(runs[0].rows, cell)) is not None
        },
        "mixtures": [
            {
                "name": run.mixture.name, "shares": run.mixture.shares, "weights": run.document["weights"], "steps": run.document["steps"],
                "cpu_s": run.document["cpu_s"], "finished": run.document["finished"],
                "right": {cell: score(run.rows, cell).to_dict() for cell in cells_of(config)},
                "proof_recalled": {length: score(run.rows, length, "recalled").to_dict() for length in config.lengths},
                "tasks": {task: found["right"] for task, found in run.document["groups"].get("task", {}).items()},
            }
            for run in runs
        ],
        "paper": {"best": config.paper}, "note": config.note.strip(),
        "comparisons": [one.to_dict() for one in comparisons(config, runs)],
    }  # fmt: skip


def markdown(config: MixturesConfig, runs: Sequence[Run], about: Mapping[str, Any]) -> str:
    """The report for people."""
    names = {mixture.name: mixture.label for mixture in config.mixtures}
    lines = [
        "# Mixtures of short and long video", "",
        f"`afterview evaluate mixtures` wrote this file: {len(runs)} of {len(config.mixtures)} mixtures are done.", "",
        *_setting(config, about), "",
    ]  # fmt: skip
    if not runs:
        return "\n".join([*lines, "No mixture is done yet.", ""])
    cells = cells_of(config)
    counts = {cell: score(runs[0].rows, cell).n for cell in cells}
    lines += [
        "Share of right answers about held-out worlds, with 95 % intervals (Wilson):", "",
        "| mixture | " + " | ".join(f"{cell} (n = {counts[cell]})" for cell in cells) + " | CPU minutes |",
        "|---|" + "--:|" * (len(cells) + 1),
    ]  # fmt: skip
    for run in runs:
        shown = " | ".join(_mean(score(run.rows, cell)) for cell in cells)
        lines.append(f"| {run.mixture.label} | {shown} | {run.document['cpu_s'] / 60:.1f} |")
    lines.append(f"| commonest answer | {' | '.join(f'{commonest(runs[0].rows, cell):.3f}' for cell in cells)} | |")
    chances = [_guess(runs[0].rows, cell) for cell in cells]
    shown = " | ".join("-" if chance is None else f"{chance:.3f}" for chance in chances)
    lines += [f"| a guess among the options | {shown} | |", *(["", config.note.strip()] if config.note else [])]
    lines += ["", *_compared(config, names, comparisons(config, runs)), "", *_tasks(runs)]
    return "\n".join([*lines, ""])


def _guess(rows: Sequence[Row], cell: str) -> float | None:
    """Of a cell that has multiple choices alone."""
    return guessed(rows, cell) if cell.endswith(" choice") else None


def _setting(config: MixturesConfig, about: Mapping[str, Any]) -> list[str]:
    lesson = config.lesson
    lengths = ", ".join(
        f"{name}: {plan.seconds[0] / 60:g} to {plan.seconds[1] / 60:g} minutes" for name, plan in config.lengths.items()
    )
    sets = about.get("sets", {})
    worlds = {name: sum(one["worlds"].values()) for name, one in sets.items()}
    read = "all tokens" if lesson.tokens_read is None else f"{lesson.tokens_read} random tokens"
    lines = [
        f"Worlds ({lengths}) go through the pipeline of `afterview marathon run`, with exact captions and all checks.",
        "Their frames come from a bank of rendered frames, encoded by the shipped model's frozen encoders; held-out worlds show",
        "scenery that no other world shows. Each mixture starts from the same weights, with a new MemAug, and takes",
        f"{about.get('steps')} steps of {lesson.stories} worlds with {lesson.questions} questions each and {lesson.frames} frames each",
        f"({read} of a frame): the same number of questions and of frames. A batch has worlds of one length.",
        "",
    ]
    return [*lines, *(_set(name, one, worlds[name]) for name, one in sets.items())]


def _set(name: str, one: Mapping[str, Any], worlds: int) -> str:
    left = ", ".join(f"{count} because {why}" for why, count in one["left_out"].items()) or "none"
    used = ", ".join(f"{count} {cell}" for cell, count in one["questions_used"].items())
    return (
        f"- {name}: {worlds} worlds, {one['hours']:.0f} hours. The pipeline kept {one['questions']} questions and its checks rejected "
        f"{one['rejected']}. Used: {used}. Left out: {left}."
    )


def _mean(mean: Mean) -> str:
    return f"{mean.value:.3f} ({mean.low:.3f}-{mean.high:.3f})" if mean.n else "-"


def _compared(config: MixturesConfig, names: Mapping[str, str], found: Sequence[Comparison]) -> list[str]:
    best = names[config.paper]
    lines = [
        f"The paper's Figure 3 (70,000 videos, 60,000 images and texts) found {best} best. Here, {best} minus the others, question by "
        "question, in points (95 % intervals, Newcombe's; a bootstrap's where an answer can be right in part):", "",
        "| against | worlds | difference | direction of the paper |", "|---|---|--:|---|",
    ]  # fmt: skip
    lines += [
        f"| {names[one.against]} | {one.cell} | {100 * one.found.value:+.1f} ({100 * one.found.low:+.1f} to {100 * one.found.high:+.1f}) | "
        f"{one.verdict} |"
        for one in found
    ]
    return lines if found else [f"{best} is not done yet, so it is not compared."]


def _tasks(runs: Sequence[Run]) -> list[str]:
    """Every task by mixture."""
    tasks = sorted({str(row.groups["task"]) for row in runs[0].rows})
    lines = [
        "By task:", "",
        "| task | n | " + " | ".join(run.mixture.label for run in runs) + " |", "|---|--:|" + "--:|" * len(runs),
    ]  # fmt: skip
    for task in tasks:
        means = [mean_of([row.scores["right"] for row in run.rows if row.groups["task"] == task]) for run in runs]
        lines.append(f"| {task} | {means[0].n} | {' | '.join(map(_mean, means))} |")
    return lines
