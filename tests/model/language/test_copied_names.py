"""Names for a look are copied from the question: which words may follow, and what that does to a decoder's choice."""

import math

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.copied_names import CopiedNames, NamesOf
from afterview.model.language.looks import AFTER, BETWEEN, FIRST, ORDER, PREVIOUS
from afterview.model.language.prompt import TURN_END

THREE = "List the red ring, the word BUS and the green cross in order of time."


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def tokenizer(model: AfterviewModel) -> PreTrainedTokenizerBase:
    assert model.tokenizer is not None
    return model.tokenizer


@pytest.mark.parametrize(
    ("said", "begins", "whole"),
    [
        ("", True, False),
        ("red", True, True),  # where a name ends is the model's to say
        ("red r", True, True),  # as "ring" of a question about rings: a word that it does not have
        ("red ring", True, True),
        ("red cross", False, False),  # both words are there, but not together
        ("Red Ring", True, True),
        ("red ring,", True, False),
        ("red ring, ", True, False),
        ("red ring, red", False, False),  # the question has one red thing
        ("red ring, ring", False, False),
        ("red ring, green cross", True, True),
        ("red ring, the", True, True),
        ("red ring, word BUS, green", True, True),
        ("red ring, word BUS, word", False, False),
        ("red cross, word", False, False),  # what was said before does not fit
        ("violet ring", True, True),  # a synonym, or what the model calls it
        ("violet ring, violet", True, True),
        ("violet ring, violet ring", True, False),  # it may still go on
        (", ", False, False),
        ("red ring,, green", False, False),
    ],
)
def test_lists_of_names_that_a_question_gives(said: str, begins: bool, whole: bool) -> None:
    names = NamesOf(THREE)
    assert names.begins(said) is begins
    assert names.whole(said) is whole


def test_a_name_that_stands_twice_in_the_question_is_named_once() -> None:
    names = NamesOf("Which came first?\nA. red ring\nB. red cross\nC. the red ring, too")
    assert names.begins("red ring, red cr")
    assert not names.begins("red ring, red ri")
    assert names.begins("red ring, red")


def test_once_all_words_are_named_no_other_name_begins() -> None:
    names = NamesOf("red ring, green cross")
    assert names.begins("red ring,")
    assert not names.begins("red ring, green cross,")
    assert names.whole("red ring, green cross")


def test_an_unknown_word_may_follow_only_where_it_is_wanted() -> None:
    names = NamesOf(THREE)
    assert names.begins("red ring, violet")
    assert not names.begins("red ring, violet", free=False)
    assert names.begins("red ring, violet ring", free=False)  # it was wanted: its other words are free


def _next(tokenizer: PreTrainedTokenizerBase, said: str, wanted: list[str], question: str = THREE) -> tuple[str, int]:
    """What is said next of the words that are wanted, most wanted first, and how many names were corrected."""
    vocabulary = tokenizer.get_vocab()
    ids = [tokenizer.encode(word, add_special_tokens=False)[0] for word in wanted]
    logits = torch.zeros(len(vocabulary))
    for rank, token in enumerate(ids):
        logits[token] = 10.0 - rank
    copied = CopiedNames(tokenizer, question, {vocabulary[TURN_END]})
    narrowed = copied(tokenizer.encode(said, add_special_tokens=False), logits)
    assert torch.equal(narrowed[narrowed > -math.inf], logits[narrowed > -math.inf])  # none is made likelier
    return wanted[ids.index(int(narrowed.argmax()))], copied.corrected


@pytest.mark.parametrize(
    ("said", "wanted", "chosen", "corrected"),
    [
        ("red", [" cross", " ring"], " cross", 0),  # no look: no names
        (f"{PREVIOUS}", ["red"], "red", 0),
        (f"{ORDER}red", [" cross", " ring"], " ring", 1),
        (f"{ORDER}red", [" ring", " cross"], " ring", 0),
        (f"{ORDER}red ring,", [" red", " green"], " green", 1),
        (f"{ORDER}red ring, green cross,", [" green", " purple", " word"], " word", 1),
        (f"{ORDER}red ring,", [" purple", " word"], " purple", 0),  # its own word, which the question does not have
        (f"{FIRST}red ring", [TURN_END, ","], ",", 1),  # of one thing there is no first
        (f"{BETWEEN}red ring", [TURN_END, ","], ",", 1),
        (f"{BETWEEN}", [TURN_END, "red"], TURN_END, 0),  # without names: between those with the most evidence
        (f"{AFTER}red ring", [TURN_END, ","], TURN_END, 0),
        (f"{AFTER}", [TURN_END, "red"], "red", 1),
        (f"{FIRST}red ring, green cross", [AFTER, TURN_END], TURN_END, 1),  # another token is no name
    ],
)
def test_the_likeliest_word_that_fits_is_said(
    tokenizer: PreTrainedTokenizerBase, said: str, wanted: list[str], chosen: str, corrected: int
) -> None:
    assert _next(tokenizer, said, wanted) == (chosen, corrected)


def test_where_nothing_fits_the_model_says_what_it_wants(tokenizer: PreTrainedTokenizerBase) -> None:
    assert _next(tokenizer, f"{ORDER}red ring, green cross,", [" green"], "red ring, green cross")[0] == " green"


def test_names_that_nothing_likely_fits_are_counted_and_are_not_corrected(tokenizer: PreTrainedTokenizerBase) -> None:
    end = tokenizer.get_vocab()[TURN_END]
    copied = CopiedNames(tokenizer, "red ring, green cross", {end})
    logits = torch.zeros(len(tokenizer))
    logits[end] = -math.inf  # so it is not among the likeliest
    logits[tokenizer.encode(" red", add_special_tokens=False)[0]] = 10.0

    def unchanged(said: str) -> bool:
        return torch.equal(copied(tokenizer.encode(said, add_special_tokens=False), logits), logits)

    assert unchanged(f"{ORDER}red ring, green cross, red")
    assert unchanged(f"{ORDER}red ring, green cross, red red")
    assert (copied.corrected, copied.unmatched) == (0, 1)
    logits[tokenizer.encode(" green", add_special_tokens=False)[0]] = 9.0
    assert not unchanged(f"{ORDER}red ring,")
    assert (copied.corrected, copied.unmatched) == (1, 1)
    assert unchanged(f"{ORDER}red ring, green cross red")  # what was corrected at first, but does not fit at last
    assert (copied.corrected, copied.unmatched) == (0, 2)


def test_names_are_counted_once_each(tokenizer: PreTrainedTokenizerBase) -> None:
    vocabulary = tokenizer.get_vocab()
    copied = CopiedNames(tokenizer, THREE, {vocabulary[TURN_END]})

    def want(said: str, *words: str) -> None:
        logits = torch.zeros(len(vocabulary))
        for rank, word in enumerate(words):
            logits[tokenizer.encode(word, add_special_tokens=False)[0]] = 10.0 - rank
        copied(tokenizer.encode(said, add_special_tokens=False), logits)

    want(f"{ORDER}", "red")
    want(f"{ORDER}red", " cross", " ring")
    want(f"{ORDER}red", " cross", " ring")
    assert copied.corrected == 1
    want(f"{ORDER}red ring,", " red", " word")
    assert copied.corrected == 2
