"""Scores of one answer: `strict` as training.evaluation.choices judges, `official` as the harness of the benchmark's authors counts. Pure.

An official rule is often lenient: it takes the first capital letter, or finds the right letter anywhere. It is kept beside the strict one
because published figures were counted by it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from afterview.training.base.number_words import NUMBER_WORDS
from afterview.training.evaluation.benchmarks.base import Item
from afterview.training.evaluation.choices import chosen

Official = Callable[[Item, str], float]

_OPENINGS: Final = ("The best answer is", "The correct answer is", "The answer is", "The answer")
_MORE_OPENINGS: Final = ("The best option is", "The correct option is", "Best answer:", "Best option:")
_LONG: Final = 10  # words: a longer answer without a capital letter counts as none, as published
_TENS: Final = {
    word: 10 * (number + 2)
    for number, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
}
_TEENS: Final = {
    word: 13 + number
    for number, word in enumerate(["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"])
}
_WORDS: Final = {**{word: number for number, word in enumerate(NUMBER_WORDS)}, **_TEENS, **_TENS}
_NUMBER = re.compile(
    rf"\b(?:\d{{1,18}}|(?:{'|'.join(_TENS)})[\s-]+(?:{'|'.join(NUMBER_WORDS[1:10])})|{'|'.join(_WORDS)})\b",
    re.IGNORECASE,
)
_LARGER = re.compile(r"\b(?:hundred|thousand|million|dozen)s?\b", re.IGNORECASE)
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_WORD = re.compile(r"[\w']+")


def choice_score(official: Official) -> Callable[[Item, str], Mapping[str, float]]:
    """Scores of multiple choice."""

    def score(item: Item, answer: str) -> Mapping[str, float]:
        return {"strict": float(chosen(answer, item.options) == item.truth), "official": official(item, answer)}

    return score


def first_capital(item: Item, answer: str) -> float:
    """Video-MME, as lmms-eval counts: the first of its letters, A to D, after openings such as `The best answer is` are taken off. Of
    `Best answer: A` the first is the B: in its list of openings two commas are missing."""
    return float(_first_capital(answer, _OPENINGS, "".join(item.options)) == item.truth)


def first_capital_or_chance(item: Item, answer: str) -> float:
    """LongVideoBench: the same of A to E with all openings, but an answer without a letter is replaced by a random one. Here it counts by
    its chance."""
    found = _first_capital(answer, _OPENINGS + _MORE_OPENINGS, "ABCDE")
    return 1 / len(item.options) if found is None else float(found == item.truth)


def before_bracket(item: Item, answer: str) -> float:
    """MLVU: what stands before the first closing bracket is the letter; its prompt opened the bracket already."""
    return float(answer.split(")")[0] == item.truth)


def polished(item: Item, answer: str) -> float:
    """LVBench: the first character of the first word, inside the first brackets if there are any."""
    text = answer.strip().split(")")[0].strip()
    text = text.split("(")[1].strip() if "(" in text else text
    return float(text.split(" ")[0][:1] == item.truth)


def any_of_four(item: Item, answer: str) -> float:
    """VNBench: A if there is an A before the first full stop, otherwise B if there is a B, and so on."""
    head = answer.split(".")[0]
    return float(next((letter for letter in "ABCD" if letter in head), head) == item.truth)


def contains(item: Item, answer: str) -> float:
    """OVO-Bench: the right letter anywhere in the answer."""
    return float(item.truth in answer)


def first_character(item: Item, answer: str) -> float:
    """StreamingBench: the first character of the answer is the letter."""
    return float(answer.strip()[:1] == item.truth)


def lone_letter(item: Item, answer: str) -> float:
    """MVBench, as lmms-eval counts: the letter of `B. red`, otherwise the first letter that stands alone, of either case, once marks are
    taken off: one that has a space beside it somewhere joins what it stood between (`A,B, so C` is AB and C), any other becomes a space."""
    lettered = re.match(r"([A-E])\.\s*.+$", answer.strip(), re.IGNORECASE)
    if lettered is not None:
        return float(lettered[1].upper() == item.truth)
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    numbers = re.search(r"\d,\d", text) is not None
    bare = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        joins = numbers or f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if joins else " ")
    found = re.search(r"\b([A-E])\b", re.sub(r"\.(?!\d)", "", bare), re.IGNORECASE)
    return float(found is not None and found[1].upper() == item.truth)


def exact_option(item: Item, answer: str) -> float:
    """EgoSchema, as lmms-eval counts: the whole answer is an option with its full stop, its first sentence, or its letter alone."""
    whole = f"{item.truth}. {item.options[item.truth].removesuffix('.')}."
    return float(answer.strip() in (whole, whole.split(". ")[1], item.truth))


def _first_capital(answer: str, openings: Sequence[str], letters: str) -> str | None:
    text = answer.strip()
    for opening in openings:
        text = text.replace(opening, "")
    return next((letter for letter in text if letter in letters), None)


def yes_or_no(answer: str) -> str | None:
    """`yes` or `no`, if an answer says one of them and not the other. It must begin with it or be it, apart from `Answer:` and the like."""
    said = {word.lower() for word in _YES_NO.findall(answer)}
    if len(said) != 1:
        return None
    head = re.sub(r"^\W*(?:(?:the\s+)?answer(?:\s+is)?\s*:?\s*)?", "", answer, flags=re.IGNORECASE)
    (word,) = said
    return word if head.lower().startswith(word) else None


def yes_no_score(item: Item, answer: str) -> Mapping[str, float]:
    """TempCompass: officially what the answer begins with."""
    opening = answer.strip().lower()
    official = "yes" if opening.startswith("yes") else "no" if opening.startswith("no") else None
    return {"strict": float(yes_or_no(answer) == item.truth), "official": float(official == item.truth)}


def one_number(answer: str) -> int | None:
    """The number that an answer says, in digits or as a word up to ninety-nine. None if it says none, two, or a larger word."""
    if _LARGER.search(answer):
        return None
    said = {_value(word) for word in _NUMBER.findall(answer)}
    return said.pop() if len(said) == 1 else None


def joined_digits(answer: str) -> str:
    """OVO-Bench: all digits of an answer, one after the other: `2 or 3` is 23."""
    return "".join(re.findall(r"\d+", answer))


def _value(word: str) -> int:
    return int(word) if word.isdecimal() else sum(_WORDS[part] for part in re.split(r"[\s-]+", word.lower()))


def named_option(answer: str, options: Mapping[str, str]) -> str | None:
    """Which of options such as `Option 1`, `Sentence B` an answer names, by its name, its mark, or its text. None: none, or two."""
    said = _squeezed(answer)
    if not said:
        return None
    found = set()
    for name, text in options.items():
        mark, own = name.split()[-1].lower(), _squeezed(text)
        if said in (mark, _squeezed(name), own, _squeezed(f"{name} {text}"), _squeezed(f"{mark} {text}")):
            return name
        if re.search(rf"\b{re.escape(_squeezed(name))}\b", said) or (own and own in said):
            found.add(name)
    return found.pop() if len(found) == 1 else None


def caption_score(item: Item, answer: str) -> Mapping[str, float]:
    """TempCompass' caption matching: officially the whole answer is an option, its sentence, or its name or mark."""
    name, text = item.truth, item.options[item.truth]
    forms = {f"{name}: {text}", text, name, name.split()[-1]}
    bare = answer.strip()
    official = bare in forms or bare.replace(".", "") in forms or (") " in bare and bare.split(") ", 1)[1] == text)
    return {"strict": float(named_option(answer, item.options) == name), "official": float(official)}


def captioning_score(item: Item, answer: str) -> Mapping[str, float]:
    """TempCompass' captioning is judged by a language model. Here: the caption says the right information, and no other: in its words and
    their order (`from left to right`), or, where it says none so, with all its words."""
    said, words = f" {_squeezed(answer)} ", set(_squeezed(answer).split())
    own = {name: _squeezed(text) for name, text in item.options.items()}
    fits = {name for name, text in own.items() if f" {text} " in said}
    fits = fits or {name for name, text in own.items() if words.issuperset(text.split())}
    return {"words": float(fits == {item.truth})}


def open_score(item: Item, answer: str) -> Mapping[str, float]:
    """Open answers are judged by a language model. Here: the same words, and the F1 score of the words."""
    said, truth = _WORD.findall(answer.lower()), _WORD.findall(item.truth.lower())
    rest, both = list(said), 0
    for word in truth:
        if word in rest:
            rest.remove(word)
            both += 1
    f1 = 2 * both / (len(said) + len(truth)) if said or truth else 0.0
    return {"exact": float(said == truth), "words F1": f1}


def _squeezed(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))
