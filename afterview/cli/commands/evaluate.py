"""`afterview evaluate world`: a model's answers on worlds that it was never trained on."""

import argparse
import tempfile
from pathlib import Path
from typing import Any, get_args

from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import UsageError
from afterview.training.evaluation.plan import VARIANTS, RecallMode, WorldTest
from afterview.training.evaluation.tables import Evaluation, markdown
from afterview.training.world.questions import MOST_CHOICES


def run(arguments: argparse.Namespace) -> int:
    """Ingest the worlds, ask, and print the tables."""
    test = _test(arguments)
    if arguments.work:
        work = Path(arguments.work)
        if work.exists() and not work.is_dir():
            raise UsageError(f"--work {work}: is a file; give a directory")
        evaluation = _evaluate(arguments.model, test, work)
    else:
        with tempfile.TemporaryDirectory(prefix="afterview-evaluate-") as directory:
            evaluation = _evaluate(arguments.model, test, Path(directory))
    if arguments.json:
        dump(evaluation.to_dict())
        return 0
    for mode, table in evaluation.summaries.items():
        print(
            f"\n{len(test.seeds)} {VARIANTS[test.variant].called}, of {test.frames} frames, {mode} recall; "
            f"{table['seconds_median']} s an answer (median)\n"
        )
        print(markdown(table))
        _print_mistakes(table)
    return 0


def _evaluate(model: str, test: WorldTest, directory: Path) -> Evaluation:
    from afterview.training.evaluation.worlds import evaluate  # late: loads torch

    with progress("ask", "questions") as report:
        return evaluate(test, model, directory, progress=report)


def parse_seeds(text: str) -> range:
    """`100..119`, both ends included, or one seed. Raises UsageError."""
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()) or (dots and int(last) < int(first)):
        raise UsageError(f"--seeds {text}: give a range such as 100..119, or one seed")
    return range(int(first), int(last if dots else first) + 1)


def _test(arguments: argparse.Namespace) -> WorldTest:
    modes = tuple(arguments.recall.split(","))
    if arguments.choices and not 2 <= arguments.choices <= MOST_CHOICES:
        raise UsageError(f"--choices {arguments.choices}: 2 to {MOST_CHOICES} answers can be offered")
    for name, value in (("questions", arguments.questions), ("frames", arguments.frames)):
        if value < 1:
            raise UsageError(f"--{name} {value}: give a number from 1 on")
    for mode in modes:
        if mode not in get_args(RecallMode):
            raise UsageError(f"--recall {mode}: choose from {', '.join(get_args(RecallMode))}")
    return WorldTest(
        seeds=parse_seeds(arguments.seeds), frames=arguments.frames, questions=arguments.questions, variant=arguments.world,
        kinds=tuple(arguments.kinds.split(",")) if arguments.kinds else (), pairs=arguments.pairs,
        held_out_wordings=arguments.held_out_wordings, reworded=arguments.reworded, choices=arguments.choices, recall=modes,
    )  # fmt: skip


def _print_mistakes(table: dict[str, Any]) -> None:
    lines = [
        f"  {kind}: '{mistake['truth']}' answered '{mistake['said']}' {mistake['times']} times"
        for kind, row in table["kinds"].items()
        for mistake in row["mistakes"]
        if mistake["times"] > 1
    ]
    if lines:
        print("\nMistakes made more than once:", *lines, sep="\n")
