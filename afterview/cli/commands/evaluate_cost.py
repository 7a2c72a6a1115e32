"""`afterview evaluate cost`: what a question costs."""

import argparse

from afterview.cli.output.documents import dump
from afterview.configs import ExitStatus, UsageError
from afterview.training.evaluation.cost import FRAMES, TEXT, recipe_costs
from afterview.training.evaluation.cost import markdown as costs_markdown

MOST_FRAMES = 10_000_000  # of a video whose cost is asked for: four months


def run(arguments: argparse.Namespace) -> int:
    """Print tokens, FLOPs and bytes."""
    costs = recipe_costs(FRAMES if arguments.frames is None else [_frames(one) for one in arguments.frames.split(",")])
    if arguments.json:
        dump({"text_tokens": TEXT, "costs": [cost.to_dict() for cost in costs]})
    else:
        print(f"One question with {TEXT} text tokens, to the first token of the answer\n\n{costs_markdown(costs)}")
    return ExitStatus.OK


def _frames(text: str) -> int:
    if text.strip().isascii() and text.strip().isdecimal() and 0 < int(text) <= MOST_FRAMES:
        return int(text)
    raise UsageError(f"--frames {text}: give numbers of frames from 1 to {MOST_FRAMES}, such as 600,3600")
