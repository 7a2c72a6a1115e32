"""`afterview evaluate world`: a model's answers against worlds that it was never trained on."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.training.evaluation.plan import VARIANTS, RecallMode, WorldTest
from afterview.training.evaluation.tables import Outcome, markdown, summary
from afterview.training.world.questions import MOST_CHOICES


def run(arguments: argparse.Namespace) -> int:
    """Take the worlds in, ask, and print the tables."""
    test = _test(arguments)
    began = time.monotonic()
    if arguments.work:
        work = Path(arguments.work)
        if work.exists() and not work.is_dir():
            raise UsageError(f"--work {work}: is a file; give a directory")
        weights, outcomes = _measure(arguments, test, work)
    else:
        with tempfile.TemporaryDirectory(prefix="afterview-evaluate-") as directory:
            weights, outcomes = _measure(arguments, test, Path(directory))
    document = _document(arguments, test, weights, outcomes, time.monotonic() - began)
    if arguments.json:
        dump(document)
        return 0
    for mode, table in document["recall"].items():
        print(
            f"\n{len(test.seeds)} {VARIANTS[test.variant].called}, of {test.frames} frames, {mode} recall; "
            f"{table['seconds_median']} s an answer (median)\n"
        )
        print(markdown(table))
        _print_mistakes(table)
    return 0


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


def _measure(arguments: argparse.Namespace, test: WorldTest, directory: Path) -> tuple[str, list[Outcome]]:
    """The model's hash, and what it answered."""
    from afterview.model.checkpoint.loading import load_pretrained  # loads torch: not before the arguments make sense
    from afterview.training.evaluation.worlds import ask_all, take_in

    model = load_pretrained(arguments.model)
    take_in(test, model.encoders, directory, report=_say)
    return model.weights_hash, list(ask_all(test, model, directory, report=_say))


def _document(
    arguments: argparse.Namespace, test: WorldTest, weights: str, outcomes: list[Outcome], seconds: float
) -> dict[str, Any]:
    return {
        "benchmark": "world",
        "model": arguments.model,
        "weights": weights,
        "seeds": [test.seeds[0], test.seeds[-1]],
        "world": test.variant,
        "frames": test.frames,
        "questions": test.questions,
        "kinds": list(test.kinds),
        "pairs": test.pairs,
        "held_out_wordings": test.held_out_wordings,
        "reworded": test.reworded,
        "choices": test.choices,
        "seconds": round(seconds, 1),
        "recall": {mode: summary([outcome for outcome in outcomes if outcome.recall == mode]) for mode in test.recall},
    }


def _print_mistakes(table: dict[str, Any]) -> None:
    lines = [
        f"  {kind}: '{mistake['truth']}' answered '{mistake['said']}' {mistake['times']} times"
        for kind, row in table["kinds"].items()
        for mistake in row["mistakes"]
        if mistake["times"] > 1
    ]
    if lines:
        print("\nMistakes made more than once:", *lines, sep="\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
