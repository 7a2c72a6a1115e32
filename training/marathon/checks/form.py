"""What is wrong with a question by itself: rules that need neither captions nor a model. Pure.

task         its task is none of the topic's
leak         the answer stands in the question
options      not just one option is right: too few, alike, or one within another
form         the right option stands out by its length or its kind
time         a temporal answer contradicts its own number, its spans, or the length of the video
"""

import re
from collections.abc import Sequence
from typing import Final

from afterview.training.marathon.checks.agreement import is_clock, same_answer, seconds_in, words_of
from afterview.training.marathon.config import ChecksConfig
from afterview.training.marathon.rows import Moment, Question
from afterview.training.marathon.tasks import BY_NAME

_SHORT: Final = 12  # characters; shorter options may differ in length as they like
_CATCH_ALL: Final = re.compile(
    r"(?i)\b(all|none|both|neither) (of the|the) (above|options|others)\b|\bcannot be (told|determined)\b"
)
_AT_A_TIME: Final = frozenset(
    {"temporal perception", "action localization"}
)  # tasks whose answer is a time within what is shown
_LASTING: Final = frozenset({"duration perception", "temporal gap estimation"})
_YES_OR_NO: Final = frozenset({"yes", "no"})


def faults(question: Question, seconds: float, moments: Sequence[Moment], config: ChecksConfig) -> list[str]:
    """The reasons against a question, as codes. seconds: length of the video. moments: of its captions."""
    found = []
    task = BY_NAME.get(question.task)
    if task is None or task.topic != question.topic:
        found.append("task")
    if leaks(question.question, question.answer):
        found.append("leak")
    if question.form == "choice":
        if not one_right(question):
            found.append("options")
        elif not alike(question, config.option_length):
            found.append("form")
    if not times_fit(question, seconds, moments, config.time_tolerance_s):
        found.append("time")
    return found


def leaks(question: str, answer: str) -> bool:
    """Whether the words of the answer stand in the question, one after another. An alternative (`A or B?`) names its answers."""
    asked, said = words_of(question), words_of(answer)
    if not said or set(said) <= _YES_OR_NO or "or" in asked:
        return False
    return any(asked[at : at + len(said)] == said for at in range(len(asked) - len(said) + 1))


def one_right(question: Question) -> bool:
    """Whether the options differ, so that at most one of them is right by its words."""
    options = [question.answer, *question.wrong]
    if not question.wrong or any(_CATCH_ALL.search(option) for option in options):
        return False
    for number, option in enumerate(options):
        for other in options[number + 1 :]:
            if same_answer(option, other, tolerance_s=1.0) or _within(words_of(option), words_of(other)):
                return False
    return True


def _within(one: list[str], other: list[str]) -> bool:
    """Whether one is the other with more words at an end: "a cat" and "a cat on a mat" may both be right."""
    short, long = sorted((one, other), key=len)
    if not short or seconds_in(" ".join(short)) is not None or any(word.isdigit() for word in short):
        return False
    return len(short) < len(long) and len(short) > 1 and long[: len(short)] == short and len(long) <= 12


def alike(question: Question, ratio: float) -> bool:
    """Whether the right option is like the others: of one kind, and neither much longer nor much shorter than all of them."""
    kinds = {_kind(option) for option in (question.answer, *question.wrong)}
    if len(kinds) > 1:
        return False
    lengths = [len(option) for option in question.wrong]
    longest, shortest = max(lengths), min(lengths)
    own = len(question.answer)
    if max(own, longest) <= _SHORT:
        return True
    return own <= longest * ratio and own * ratio >= shortest


def _kind(option: str) -> str:
    text = option.strip()
    if seconds_in(text) is not None:
        return "time" if is_clock(text) else "duration"
    if text.casefold() in _YES_OR_NO:
        return "yes or no"
    return "number" if all(word.isdigit() for word in words_of(text)) else "words"


def times_fit(question: Question, seconds: float, moments: Sequence[Moment], tolerance_s: float) -> bool:
    """Whether a temporal answer agrees with its own number, lies in the video, and is the time of something that the captions tell of."""
    said = seconds_in(question.answer)
    if question.task in _AT_A_TIME | _LASTING and said is None:
        return False
    if said is None:
        return question.answer_s is None or question.task not in _AT_A_TIME | _LASTING
    if said > seconds + tolerance_s or (question.answer_s is not None and abs(question.answer_s - said) > tolerance_s):
        return False
    if any(span.start_s > seconds + tolerance_s for span in question.spans):
        return False
    if question.task not in _AT_A_TIME or not moments:
        return True
    edges = (edge for moment in moments for edge in (moment.start_s, moment.end_s))
    within = (span.start_s - tolerance_s <= said <= span.end_s + tolerance_s for span in question.spans)
    return (not question.spans or any(within)) and any(abs(edge - said) <= tolerance_s for edge in edges)
