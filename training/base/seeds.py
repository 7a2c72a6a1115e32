"""Random choices of training data, worlds and evaluations: each purpose draws from a generator of its own."""

from random import Random


def seeded(purpose: str) -> Random:
    """A generator for `purpose`, which names what is drawn, its version and its seeds: "world 1, seed 7".

    The prefix is the project's first name. It decides every story, epoch and evaluation that a seed stands for, so it stays.
    """
    return Random(f"afterimage {purpose}")
