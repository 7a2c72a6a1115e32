"""Random generators for training data, worlds and evaluations. Each purpose has its own generator."""

from random import Random


def seeded(purpose: str) -> Random:
    """A generator for `purpose`, a text that names what is drawn, its version and its seeds: "world 1, seed 7".

    The prefix is the project's first name. It must stay, because every story, epoch and evaluation of a seed depends on
    it.
    """
    return Random(f"afterimage {purpose}")
