"""Functions of the task afterview_own. Loaded by lmms-eval, in its own environment."""

import ast
from typing import Any


def visuals(document: dict[str, Any]) -> list[str]:
    """What is shown."""
    return [document["video"]]


def text(document: dict[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """What is asked."""
    return str(document["question"])


def results(document: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """Right if the words are those of the truth."""
    return {"right": float(answers[0].strip().rstrip(".").lower() == document["answer"].lower())}


def weighed(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Right if the true option has the smallest loss. lmms-eval 0.7.3 hands pairs of loss and "is greedy" on as texts."""
    losses = [ast.literal_eval(result)[0] for result in results]
    return {"right": float(losses.index(min(losses)) == document["truth"])}


def mean(values: list[float]) -> float:
    """Share of right answers."""
    return sum(values) / len(values)
