"""`afterview evaluate world`: a model's answers on worlds that it was never trained on."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from afterview.cli.arguments import names_in, require_count, require_directory, require_model
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.training.evaluation.plan import VARIANTS, WorldTest
from afterview.training.evaluation.recall_modes import recall_called
from afterview.training.evaluation.tables import Evaluation, markdown
from afterview.training.world.questions import MOST_CHOICES

MOST_SEEDS = 10_000  # worlds of one evaluation; each takes seconds at least


def run(arguments: argparse.Namespace) -> int:
    """Ingest the worlds, ask, and print the tables."""
    test = _test(arguments)
    require_model(arguments.model)
    require_weights(arguments.model, whole_for="an evaluation of answers")
    if arguments.work:
        require_directory("--work", arguments.work)
        work = Path(arguments.work)
        evaluation = _evaluate(arguments.model, test, work)
    else:
        with tempfile.TemporaryDirectory(prefix="afterview-evaluate-") as directory:
            evaluation = _evaluate(arguments.model, test, Path(directory))
    if arguments.json:
        dump(evaluation.to_dict())
        return ExitStatus.OK
    for mode, table in evaluation.summaries.items():
        print(
            f"\n{len(test.seeds)} {VARIANTS[test.variant].called}, of {test.frames} frames, {recall_called(mode)}; "
            f"{table['seconds_median']} s an answer (median)\n"
        )
        print(markdown(table))
        _print_mistakes(table)
    return ExitStatus.OK


def _evaluate(model: str, test: WorldTest, directory: Path) -> Evaluation:
    with announced("starting"):
        from afterview.training.evaluation.worlds import evaluate  # late: loads torch

    return evaluate(test, model, directory, progress=progress)


def parse_seeds(text: str) -> range:
    """`100..119`, both ends included, or one seed. Raises UsageError."""
    first, dots, last = text.partition("..")
    if not _is_seed(first) or (dots and not _is_seed(last)) or (dots and int(last) < int(first)):
        raise UsageError(f"--seeds {text}: give a range such as 100..119, or one seed")
    seeds = range(int(first), int(last if dots else first) + 1)
    if len(seeds) > MOST_SEEDS:
        raise UsageError(f"--seeds {text}: {len(seeds)} worlds; give at most {MOST_SEEDS}")
    return seeds


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _test(arguments: argparse.Namespace) -> WorldTest:
    modes = names_in("--recall", arguments.recall)
    if arguments.choices and not 2 <= arguments.choices <= MOST_CHOICES:
        raise UsageError(f"--choices {arguments.choices}: 2 to {MOST_CHOICES} answers can be offered")
    require_count("--questions", arguments.questions, 1)
    return WorldTest(
        seeds=parse_seeds(arguments.seeds), frames=arguments.frames, questions=arguments.questions, variant=arguments.world,
        kinds=names_in("--kinds", arguments.kinds), pairs=arguments.pairs,
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
