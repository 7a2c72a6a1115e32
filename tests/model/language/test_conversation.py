"""The published template: where media and the time sentence go, white space, labels; and that asking is as before."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from afterview.configs import preset_path
from afterview.model.base.errors import InputMismatch
from afterview.model.language.conversation import (
    DROPPED_ANSWER,
    DROPPED_SENTENCE,
    Role,
    Turn,
    build,
    encode,
    place_media,
    time_sentence,
)
from afterview.model.language.prompt import IGNORED_LABEL, IMAGE_ID
from afterview.model.language.tokenizer import byte_tokenizer

GOLDEN = Path(__file__).parents[2] / "golden" / "prompts" / "tokenizer"
TIME = time_sentence(50, 50.37)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Merges newlines as Qwen2 does."""
    return PreTrainedTokenizerFast.from_pretrained(GOLDEN)


def pieces(text: str, *, media: int = 1, time: str | None = None) -> tuple[str, ...]:
    return place_media([("user", text)], media=media, time=time).turns[0].pieces


def test_the_only_tag_of_a_turn_is_moved_to_its_front_and_all_else_is_verbatim() -> None:
    assert pieces("<image>\nWhat?  \n") == ("", "\nWhat?  \n")
    assert pieces("<image>What?") == ("", "What?")
    assert pieces("  What?\n<image>\n") == ("", "\nWhat?")
    assert pieces(" <image> ") == ("", "")
    assert pieces(" A <image> B\n<image> ", media=2) == (" A ", " B\n", " ")
    turns: list[tuple[Role, str]] = [("user", " a "), ("assistant", " x <image> "), ("user", "b <image>")]
    placed = place_media(turns, media=1)
    assert [turn.pieces for turn in placed.turns] == [(" a ",), (" x <image> ",), ("", "\nb")]
    assert pieces("the <image> tag of a page", media=0) == ("the <image> tag of a page",)


def test_the_time_sentence_goes_before_the_first_turn_as_it_is() -> None:
    assert pieces("<image>\nWhat?", time=TIME) == ("", f"\n{TIME}\n\nWhat?")
    assert pieces("What?\n<image>", time=TIME) == ("", f"\n{TIME}\nWhat?\n")
    turns: list[tuple[Role, str]] = [("user", "a"), ("assistant", "x"), ("user", "<image>b")]
    assert place_media(turns, media=1, time=TIME).turns[2] == Turn("user", ("b",))  # it stands at the front already


def test_a_leading_answer_is_dropped_and_the_time_sentence_with_it() -> None:
    turns: list[tuple[Role, str]] = [("assistant", "Hello"), ("user", "<image>\nWhat?"), ("assistant", "A")]
    placed = place_media(turns, media=1, time=TIME)
    assert placed.turns == (Turn("user", ("", "\nWhat?")), Turn("assistant", ("A",)))
    assert placed.dropped == (DROPPED_ANSWER, DROPPED_SENTENCE)
    assert place_media(turns, media=1).dropped == (DROPPED_ANSWER,)
    twice = [("assistant", "Hi"), *turns]
    assert place_media(twice, media=1).turns[0].role == "assistant"  # only the first, as published


def test_a_number_of_tags_unlike_that_of_media_is_an_error() -> None:
    for text, media in (("a", 1), ("<image>", 2), ("<image><image>", 1)):
        with pytest.raises(InputMismatch, match="one tag where each goes"):
            pieces(text, media=media)


def published(tokenizer: PreTrainedTokenizerFast, said: list[tuple[Role, str]]) -> tuple[list[int], list[int]]:
    """Ids and labels after the published description: every turn encoded as one string, with the tag as a special token."""
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    start, end, image = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<image>"])
    ids: list[int] = []
    labels: list[int] = []
    for role, text in [("system", "You are a helpful assistant."), *said]:
        turn = tokenizer(f"<|im_start|>{role}\n{text}<|im_end|>\n", add_special_tokens=False)["input_ids"]
        ids += turn
        labels += turn if role == "assistant" else [t if t in (198, start, end) else IGNORED_LABEL for t in turn]
    return [IMAGE_ID if token == image else token for token in ids], labels


def test_ids_and_labels_are_the_published_ones_for_any_white_space(tokenizer: PreTrainedTokenizerFast) -> None:
    """Expected values from the published rules, evaluated here, with a special token <image> as the published code has it."""
    assert tokenizer("\n")["input_ids"] == [198]
    draw = Random(1)
    parts = ["\n", "\n\n", " ", "  ", ".", "?", " dog", "The", "\t", "é", "\r\n", ", ", "7", "<b>"]
    own = PreTrainedTokenizerFast.from_pretrained(GOLDEN)
    for _ in range(150):
        texts = ["".join(draw.choices(parts, k=draw.randint(1, 7))) for _ in range(4)]
        said: list[tuple[Role, str]] = [
            ("user", f"{texts[0]}<image>{texts[1]}<image>"), ("assistant", texts[2]), ("system", "Be brief."),
            ("user", texts[3]), ("assistant", "Five"),
        ]  # fmt: skip
        ids, labels = published(tokenizer, said)
        encoded = encode(own, place_media(said, media=2), supervise_roles=True)
        assert encoded.ids.tolist() == ids, said
        assert encoded.labels.tolist() == labels, said
        answers = encode(own, place_media(said, media=2))
        assert answers.ids.tolist() == ids[:-1]
        learnt = answers.labels[answers.labels != IGNORED_LABEL]
        assert own.decode(learnt).endswith("<|im_end|>Five<|im_end|>")
        assert own.decode(learnt).count("<|im_end|>") == 2


def test_answers_only_supervises_the_words_of_answers_and_their_ends() -> None:
    tokenizer = byte_tokenizer()
    said: list[tuple[Role, str]] = [("user", "Who?\n"), ("assistant", "A\nb "), ("user", "And?"), ("assistant", "C")]
    encoded = encode(tokenizer, place_media(said, media=0))
    learnt = encoded.labels != IGNORED_LABEL
    assert tokenizer.decode(encoded.labels[learnt]) == "A\nb <|im_end|>C<|im_end|>"
    assert tokenizer.decode(encoded.ids).endswith("assistant\nC<|im_end|>")
    prompt, labels = encoded.to_learn()
    np.testing.assert_array_equal(prompt.joins_before, labels == IGNORED_LABEL)
    assert len(prompt.after) == 0  # text alone is all before


def test_a_prompt_to_learn_from_begins_as_the_prompt_to_ask(tokenizer: PreTrainedTokenizerFast) -> None:
    for text, media in (("A <image> or B <image>?", 2), ("Which <image>", 1)):
        asked = build(tokenizer, text, pictures=media)
        learnt, labels = encode(tokenizer, place_media([("user", text), ("assistant", "No")], media=media)).to_learn()
        np.testing.assert_array_equal(learnt.before, asked.before)
        np.testing.assert_array_equal(learnt.after[: len(asked.after)], asked.after)
        assert learnt.further == asked.further
        assert learnt.question == asked.question
        assert (labels[: len(asked.before) + len(asked.after)] == IGNORED_LABEL).all()


def test_questions_to_the_small_model_are_encoded_as_it_was_trained() -> None:
    """It was trained with pieces that were encoded one by one; see training.tiny.texts."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(preset_path("tiny").parent / "tiny")
    encoder = tokenizer.backend_tokenizer

    def ids(text: str) -> list[int]:
        return encoder.encode(text, add_special_tokens=False).ids

    questions = [
        "Was there a red ring?",
        "At what time did the digit 2 appear?",
        "x\n\ny",
        "'s it\t.",
        "(A) 00:41 é",
        "1",
    ]
    for number, question in enumerate(questions):
        prompt = build(tokenizer, f" {question}\n", frames=60 + number, seconds=60.5 + number)
        lead, asked = ids(f"\n{time_sentence(60 + number, 60.5 + number)}\n"), ids(question)
        assert prompt.before.tolist() == ids(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        )
        assert prompt.after.tolist() == [*lead, *asked, *ids("<|im_end|>\n<|im_start|>assistant\n")]
        assert prompt.question == slice(len(lead), len(lead) + len(asked))


@pytest.mark.parametrize("asked", ["Was it é?", " Was it é?\n", "Was"])
def test_of_the_users_words_only_what_says_what_to_find_joins_the_queries(asked: str) -> None:
    tokenizer = byte_tokenizer()
    text = "Choose. Was it a dog?\nWas it é?\nA. red\nB. blue"
    whole = build(tokenizer, text, frames=3, seconds=3.0)
    prompt = build(tokenizer, text, frames=3, seconds=3.0, asked=asked)
    np.testing.assert_array_equal(prompt.after, whole.after)
    assert tokenizer.decode(prompt.after[prompt.question]) == asked.strip()
    joins = prompt.joining()[1]
    outside = np.ones(len(prompt.after), dtype=bool)
    outside[whole.question] = False
    assert joins[prompt.question].all()  # the last place of "Was" is the second sentence's
    assert joins[outside].all()  # the sentence about the time, and the end of the turn
    assert joins.sum() == outside.sum() + len(prompt.after[prompt.question])
    assert prompt.joining()[0].all()


@pytest.mark.parametrize("asked", ["", "Was it a cat?", "Was it a dog?"])
def test_all_words_join_where_no_part_of_them_is_named(asked: str) -> None:
    tokenizer = byte_tokenizer()
    prompt = build(tokenizer, "Was it a dog?", frames=3, seconds=3.0, asked=asked)
    assert prompt.joins_after is None
    assert tokenizer.decode(prompt.after[prompt.question]) == "Was it a dog?"


def test_a_question_about_a_video_may_begin_with_its_tag() -> None:
    tokenizer = byte_tokenizer()
    plain = build(tokenizer, "Where?", frames=3, seconds=3.0)
    for text in ("<image>\nWhere?", " <video> Where?", "Where?"):
        prompt = build(tokenizer, text, frames=3, seconds=3.0)
        np.testing.assert_array_equal(prompt.after, plain.after)
        assert prompt.question == plain.question
    for text in ("<image>", "<video>\n"):
        with pytest.raises(InputMismatch, match="question is empty"):
            build(tokenizer, text, frames=3, seconds=3.0)
    with pytest.raises(InputMismatch, match="question is empty"):
        build(tokenizer, "<image>", pictures=1)
    assert "The video lasts" not in tokenizer.decode(build(tokenizer, "Where?").after)


def test_pictures_without_tags_stand_before_the_question() -> None:
    tokenizer = byte_tokenizer()
    prompt = build(tokenizer, "Which is larger?", pictures=3)
    assert tokenizer.decode(prompt.after).startswith("\n\n\nWhich is larger?<|im_end|>")
    assert prompt.further == (1, 2)
    assert tokenizer.decode(prompt.after[prompt.question]) == "\n\nWhich is larger?"
