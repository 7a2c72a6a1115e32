"""From the words of a question to those of a caption, word by word: verbs, relative clauses, articles (stream.ask.captions). Pure.

Each function takes and returns tokens: words as they were written, and numbered marks (\\x00n\\x00) for quoted texts.
"""

from collections.abc import Sequence
from typing import Final, Literal

from afterview.stream.ask import caption_words as words

Kind = Literal["", "then", "some", "where", "who", "what"]  # the frame of a question that was taken off its beginning

_NOT_PRECEDED_BY: Final = words.DETERMINERS | words.PREPOSITIONS | words.RELATIVES
_FOLLOWS_A_VERB: Final = words.DETERMINERS | words.PREPOSITIONS | words.PRONOUNS.keys()
_DROPPED_ENDS: Final = frozenset(
    ["and", "or", "but", "the", "a", "an", "of", "at", "since", "between", "like", "then", "be", "been"]
)
_DROPPED_DETERMINERS: Final = frozenset(["the", "any", "some", "all", "every", "each", "no"]) | words.OWNERS
_NUMBERS: Final = frozenset(
    ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "several", "many", "both"]
)
_SPOKEN_AN: Final = ("hour", "honest", "heir")
_SPOKEN_A: Final = ("uni", "use", "usual", "one", "euro", "ute")


def predicate(kind: Kind, tokens: Sequence[str]) -> list[str]:
    """What is left of a question behind its frame, as a statement: subject, then what it does ('a dog biting the postman')."""
    rest = list(tokens)
    if not rest:
        return []
    first = rest[0].lower()
    if kind == "who":
        return (
            _asked_for(rest, ["a", "person"]) if first in words.DO | words.MODAL else _finite(["a", "person", *rest], 2)
        )
    if kind == "what":
        return _what(rest)
    if kind == "some":
        return _with_own_article(_finite(rest, 1))
    if first in words.AUXILIARIES:
        made = _after_auxiliary(first, rest[1:])
    else:
        made = _finite(rest, 1)
        if kind == "then":
            made = _with_own_article(made)
    return _without_going(made) if kind == "where" else made


def relative(tokens: Sequence[str]) -> list[str]:
    """Relative clauses as participles: 'the man who wears a hat' to 'the man wearing a hat'."""
    found = list(tokens)
    for place in range(1, len(found) - 1):
        if place + 1 >= len(found) or found[place].lower() not in words.RELATIVES:
            continue
        after = found[place + 1].lower()
        if after in words.AUXILIARIES:
            found[place:] = _auxiliary_in_place(found[place + 1 :])
        elif (base := words.past_of(after)) is not None:
            state = found[place].lower() != "who" and _is_state(found, place + 1)
            found[place : place + 2] = [found[place + 1] if state else words.ing(base)]
        elif (base := words.third_of(after) or (after if after in words.BASES else None)) is not None:
            found[place : place + 2] = ["with" if base == "have" else words.ing(base)]
    return found


def with_article(tokens: Sequence[str]) -> list[str]:
    """The caption's first article: 'the car' and 'my car' to 'a car', 'any cars' to 'cars'; names and numbers stay."""
    rest, dropped = list(tokens), False
    while rest and rest[0].lower() in words.UNSEEN:
        rest = rest[1:]
    while rest and rest[-1].lower() in _DROPPED_ENDS | words.UNSEEN - {"there"}:
        rest = rest[:-1]
    while len(rest) > 1 and rest[0].lower() in _DROPPED_DETERMINERS:
        rest, dropped = rest[2 if len(rest) > 2 and rest[1].lower() == "of" else 1 :], True
    if not rest:
        return []
    if (phrase := words.PRONOUNS.get(rest[0].lower())) is not None:
        return [*phrase.split(), *rest[1:]]
    head = _head(rest).lower()
    if not dropped or head in words.MASS or _is_plural(head) or rest[0].lower() in _NUMBERS or rest[0].isdigit():
        return rest
    return [_article(rest[0]), *rest]


def shows_something(tokens: Sequence[str]) -> bool:
    """Whether a picture could show it: a word is left that is no function word."""
    empty = words.AUXILIARIES | _FOLLOWS_A_VERB | words.RELATIVES | words.UNSEEN | {"and", "or", "here", "what"}
    empty_verbs = {words.ing(base) for base in words.EMPTY_VERBS} | words.EMPTY_VERBS
    return any(token.lower() not in empty and token.lower() not in empty_verbs for token in tokens)


def _what(rest: list[str]) -> list[str]:
    """Of 'what ...'."""
    first = rest[0].lower()
    if first in words.DO | words.MODAL:
        return _asked_for(rest, ["something"])
    if first in words.HAVE and not (len(rest) > 1 and rest[1].lower() in words.BE):
        return _asked_for(rest, ["something"], participle=True)
    if first in words.BE:
        rest = rest[2:] if len(rest) > 1 and rest[1].lower() in ("being", "been") else rest[1:]
        after = rest[0].lower() if rest else ""
        if after in words.PREPOSITIONS or _is_ing(after) or words.past_of(after) is not None:
            return ["something", *rest]
        if rest and rest[-1].lower() == "doing":
            return rest[:-1]
        for place in range(1, len(rest)):
            if rest[place].lower() == "doing":
                return rest[:place] + rest[place + 1 :]
        takes_object = len(rest) > 1 and (_is_ing(rest[-1].lower()) or _ends_in_preposition(rest))
        return [*rest, "something"] if takes_object and rest[-1].lower() not in ("happening", "going") else rest
    if words.past_of(first) or words.third_of(first) or first in words.HAVE:
        base = words.past_of(first) or words.third_of(first)
        if base in words.EMPTY_VERBS:
            return [token for token in rest[1:] if token.lower() not in ("to", "with")][: len(rest)]
        return _finite(["something", *rest], 1)
    return _with_own_article(_finite(rest, 1))


def _asked_for(rest: list[str], asked: list[str], *, participle: bool = False) -> list[str]:
    """Of 'what did the child drop?': who does it, the verb, what is asked for, the rest."""
    subject = rest[1:]
    place = _verb(subject, participle=participle)
    if subject and subject[0].lower() in words.UNSEEN and subject[0].lower() != "it":
        return subject[(place if place is not None else 0) + 1 :]
    if place is None:
        return subject
    base = words.past_of(subject[place].lower()) if participle else subject[place].lower()
    if base is None or base in words.EMPTY_VERBS:
        return subject[:place] + subject[place + 1 :]
    tail = subject[place + 1 :]
    if len(tail) == 1 and tail[0].lower() in words.PREPOSITIONS:
        return [*subject[:place], words.ing(base), *tail, *asked]
    return [*subject[:place], words.ing(base), *asked, *tail]


def _after_auxiliary(first: str, rest: list[str]) -> list[str]:
    """Of a question that is answered yes or no, behind its auxiliary verb."""
    if first in words.BE:
        if rest and rest[0].lower() == "it":
            rest = rest[1:]
        return _adjectives_first([token for token in rest if token.lower() not in ("being", "been")])
    participle = first in words.HAVE
    if participle and any(token.lower() == "been" for token in rest):
        return _adjectives_first([token for token in rest if token.lower() != "been"])
    place = _verb(rest, participle=participle)
    if place is None:
        return _adjectives_first([token for token in rest if token.lower() != "be"])
    if rest[0].lower() in words.UNSEEN and rest[0].lower() != "it":
        return _adjectives_first(rest[place + 1 :])
    base = words.past_of(rest[place].lower()) if participle else rest[place].lower()
    return [*rest[:place], *_doing(base or rest[place]), *rest[place + 1 :]]


def _finite(tokens: list[str], start: int) -> list[str]:
    """A statement's first verb as a participle: 'cars passed the gate' to 'cars passing the gate'. start: where a verb may stand."""
    by_a_person, acting = start == 2, False
    for place in range(start, len(tokens)):
        word, before = tokens[place].lower(), tokens[place - 1].lower()
        if before in words.RELATIVES:
            continue
        if word in words.DO and place + 1 < len(tokens) and tokens[place + 1].lower() not in words.BASES:
            return _asked_for(tokens[place:], tokens[:place])
        if word in words.AUXILIARIES:
            rest = [*tokens[:place], *_auxiliary_in_place(tokens[place:])]
            return _adjectives_first(rest) if word in words.BE else rest
        acting = acting or _is_ing(word)
        alone = before in _NOT_PRECEDED_BY and not (place == start and by_a_person)  # 'any smoke', 'a lost cat'
        if acting or alone:
            continue
        if (base := words.past_of(word)) is not None:
            if not by_a_person and _is_state(tokens, place):
                return tokens
        else:
            after = tokens[place + 1].lower() if place + 1 < len(tokens) else "the"
            base = words.third_of(word) or (word if word in words.BASES else None)
            if base is None or not (
                after in _FOLLOWS_A_VERB or after.startswith("\x00") or (by_a_person and place == 2)
            ):
                continue
            if before in words.ADJECTIVES or (place + 1 == len(tokens) and words.third_of(word) and not by_a_person):
                continue
        if base == "keep" and place + 1 < len(tokens) and _is_ing(tokens[place + 1].lower()):
            return [*tokens[:place], *tokens[place + 1 :]]
        return [*tokens[:place], *_doing(base), *tokens[place + 1 :]]
    return tokens


def _auxiliary_in_place(tokens: list[str]) -> list[str]:
    """What begins with an auxiliary verb that follows its subject: 'is waving', 'has a key', 'had taken it', 'did not pay'."""
    first, rest = tokens[0].lower(), tokens[1:]
    after = rest[0].lower() if rest else ""
    if first in words.HAVE:
        if after in words.BE:
            return rest[1:]
        base = words.past_of(after)
        return ["with", *rest] if base is None else [words.ing(base), *rest[1:]]
    if first in words.BE:
        return rest[1:] if after in ("being", "been") else rest
    if after == "be":
        return rest[1:]
    return [*_doing(after), *rest[1:]] if after in words.BASES else rest


def _verb(tokens: Sequence[str], *, participle: bool) -> int | None:
    """Where the verb stands behind its subject; None if it is not known."""

    def is_verb(word: str) -> bool:
        return words.past_of(word) is not None if participle else word in words.BASES

    lower = [token.lower() for token in tokens]
    for place in range(1, len(lower)):
        before = lower[place - 1]
        if not is_verb(lower[place]) or before in _NOT_PRECEDED_BY:
            continue
        if before in words.ADJECTIVES and not (place > 1 and lower[place - 2] in words.PREPOSITIONS):
            continue
        if place + 1 < len(lower) and is_verb(lower[place + 1]):
            continue
        return place
    return None


def _doing(base: str) -> list[str]:
    return ["with"] if base == "have" else [words.ing(base)]


def _adjectives_first(tokens: list[str]) -> list[str]:
    """'the gate open' to 'the open gate'."""
    place = len(tokens)
    while place > 1 and tokens[place - 1].lower() in words.ADJECTIVES | {"or", "and"}:
        place -= 1
    if place == len(tokens) or tokens[place - 1].lower() in words.PREPOSITIONS | words.DETERMINERS:
        return tokens
    if tokens[0].lower() in words.PRONOUNS or tokens[place].lower() in ("or", "and"):
        return tokens
    if tokens[0].lower() in words.DETERMINERS:
        return [tokens[0], *tokens[place:], *tokens[1:place]]
    return tokens if tokens[0][:1].isupper() else [*tokens[place:], *tokens[:place]]


def _with_own_article(tokens: list[str]) -> list[str]:
    """'car parked there' with a word before it for which the article is chosen."""
    return tokens if tokens and tokens[0].lower() in words.DETERMINERS | words.PRONOUNS.keys() else ["any", *tokens]


def _without_going(tokens: list[str]) -> list[str]:
    while tokens and (tokens[-1].lower() in ("go", "going", "went", "now", *words.BE) or tokens[-1].lower() == "gone"):
        tokens = tokens[:-1]
    return tokens


def _is_state(tokens: Sequence[str], place: int) -> bool:
    """Whether a past form says how something is ('parked by the gate') and not what it does ('blocked the gate')."""
    after = tokens[place + 1].lower() if place + 1 < len(tokens) else ""
    return tokens[place].lower() in words.STATES and after not in words.DETERMINERS


def _is_ing(word: str) -> bool:
    return (
        word.endswith("ing")
        and len(word) > 4
        and word not in ("building", "ceiling", "morning", "evening", "something", "string")
    )


def _ends_in_preposition(tokens: Sequence[str]) -> bool:
    return tokens[-1].lower() in words.PREPOSITIONS and any(_is_ing(token.lower()) for token in tokens)


def _head(tokens: Sequence[str]) -> str:
    """The noun that the article belongs to."""
    for place, token in enumerate(tokens):
        word = token.lower()
        joins = word in ("and", "or")
        ends = word in words.PREPOSITIONS | words.RELATIVES | words.DETERMINERS or token.startswith("\x00") or joins
        if place and (ends or _is_ing(word) or words.past_of(word) is not None):
            if joins and tokens[place - 1].lower() in words.ADJECTIVES:
                continue
            if words.past_of(word) is not None and tokens[place - 1].lower() in ("or", "and"):
                continue
            return tokens[place - 1]
    return tokens[-1]


def _is_plural(word: str) -> bool:
    if word in words.PLURALS:
        return True
    return word.endswith("s") and not word.endswith(("ss", "us", "is", "'s", "’s")) and word not in words.SINGULAR_IN_S


def _article(word: str) -> str:
    low = word.lower()
    if low.startswith(_SPOKEN_AN):
        return "an"
    return "an" if low[:1] in set("aeiou") and not low.startswith(_SPOKEN_A) else "a"
