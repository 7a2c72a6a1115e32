"""`afterview demo`."""

import argparse
import time
from pathlib import Path

from afterview.cli.arguments import require_directory, seed
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError

MOST_QUESTIONS = 60  # one a second


def run(arguments: argparse.Namespace) -> int:
    """Draw the world and the questions, then play the demo."""
    if not 1 <= arguments.questions <= MOST_QUESTIONS:
        raise UsageError(f"--questions {arguments.questions}: 1 to {MOST_QUESTIONS} fit into the live minute")
    require_directory("--output", arguments.output)
    seed(arguments.seed)
    with announced("starting"):  # loads torch
        from afterview.demo.demo import LIVE_S, STORY_S, play
        from afterview.demo.report import Show
        from afterview.training.evaluation.quiz import draw_quiz
        from afterview.training.world import World
        from afterview.training.world.vocabulary import split_of

    if split_of(arguments.seed) == "train":
        raise UsageError(f"--seed {arguments.seed}: this world is in the training split; use a seed below {2**32}")
    world = World(arguments.seed, STORY_S)
    live_s = STORY_S - LIVE_S
    quiz = draw_quiz(world.script, live_s, count=arguments.questions)
    directory = Path(arguments.output) / time.strftime("%Y%m%d-%H%M%S")
    if directory.exists():
        raise UsageError(
            f"{directory}: exists already, from a demo that started in the same second; run the command again"
        )
    play(Show(directory, world, quiz, live_s, quiet=arguments.json, progress=progress))
    return ExitStatus.OK
