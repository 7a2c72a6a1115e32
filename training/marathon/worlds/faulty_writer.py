"""What a writer of questions does wrong, at a known rate, so that it shows which check finds it. Pure.

answer     gives a wrong option as the answer
leak       puts the answer into the question
second     offers the right answer twice, in other words
form       makes the right option stand out by its length
time       gives another number than its answer says, or a time at which nothing happens
again      asks the question before once more
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

from afterview.model.language.moments import clock
from afterview.training.marathon.checks.agreement import is_clock, seconds_in

Fault = Literal["answer", "leak", "second", "form", "time", "again"]
FAULTS: Final[tuple[Fault, ...]] = ("answer", "leak", "second", "form", "time", "again")
_OFF_S: Final = 37.0  # of a wrong time
_WORDY: Final = ", as one can see very clearly for quite some time in this part of the video"


def spoiled(questions: Sequence[Mapping[str, Any]], share: float, rng: Random) -> list[dict[str, Any]]:
    """The questions, a share of them with a fault that it can have."""
    made: list[dict[str, Any]] = []
    for one in questions:
        drawn, fault = rng.random() < share, rng.choice(FAULTS)
        made.append(_spoil(dict(one), fault, made) if drawn else dict(one))
    return made


def fault_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Fault | None:
    """Which fault a question has, by what it was. None: none."""
    if before["question"] != after["question"]:
        return "leak" if after["question"].startswith(before["question"][:-1]) else "again"
    if before["answer_s"] != after["answer_s"]:
        return "time"
    if before["answer"] != after["answer"]:
        return "form" if after["answer"].startswith(before["answer"]) else "answer"
    return "second" if list(before["wrong"]) != list(after["wrong"]) else None


def _spoil(one: dict[str, Any], fault: Fault, before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The question with the fault, or as it is if it cannot have it."""
    answer, wrong = one["answer"], list(one["wrong"])
    if fault == "answer" and wrong and one["answer_s"] is None:
        return {**one, "answer": wrong[0], "wrong": [answer, *wrong[1:]]}
    if fault == "leak" and answer not in ("yes", "no") and " or " not in one["question"]:
        return {**one, "question": f"{one['question'][:-1]}, which is {answer}?"}
    if fault == "second" and wrong:
        return {**one, "wrong": [f"The {answer}.", *wrong[1:]]}
    if fault == "form" and wrong and seconds_in(answer) is None and not answer.isdigit():
        return {**one, "answer": answer + _WORDY}
    if fault == "time" and one["answer_s"] is not None:
        off = one["answer_s"] + _OFF_S
        return {**one, "answer_s": off, **({"answer": clock(off)} if is_clock(answer) else {})}
    return dict(before[-1]) if fault == "again" and before else one
