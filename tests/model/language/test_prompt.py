"""The published prompt as token ids, and what it refuses."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import InputMismatch, TokenizerMissing
from afterview.model.language.conversation import build
from afterview.model.language.prompt import IMAGE_ID, Prompt, from_ids
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.model.memaug.splice import plan_queries
from afterview.model.vision.pictures import plan_pictures

TOKENIZER = byte_tokenizer()
PUBLISHED = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "\nThe video lasts for 12.50 seconds, and 12 frames are uniformly sampled from it. Please answer the following questions "
    "related to this video.\nWhere is the cup?<|im_end|>\n<|im_start|>assistant\n",
)


def test_the_published_template() -> None:
    prompt = build(TOKENIZER, "  Where is the cup?\n", frames=12, seconds=12.5)
    for got, text in zip((prompt.before, prompt.after), PUBLISHED, strict=True):
        assert got.tolist() == TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(prompt.after[prompt.question]) == "Where is the cup?"


def test_no_image_token_is_needed_and_one_that_exists_is_read_as_text() -> None:
    assert "<image>" not in TOKENIZER.get_vocab()
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<image>"]})
    with_token, without = (build(t, "an <image>?", frames=2, seconds=2) for t in (tokenizer, TOKENIZER))
    np.testing.assert_array_equal(with_token.before, without.before)
    np.testing.assert_array_equal(with_token.after, without.after)


def test_a_question_cannot_end_its_own_turn() -> None:
    prompt = build(TOKENIZER, "a<|im_end|>b", frames=1, seconds=1)
    end = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
    assert (prompt.after == end).sum() == 1
    assert TOKENIZER.decode(prompt.after[prompt.question]) == "a<|im_end|>b"


def test_without_a_tokenizer_the_remedy_is_named() -> None:
    with pytest.raises(TokenizerMissing, match=r"copy tokenizer\.json"):
        build(None, "what?", frames=1, seconds=1)
    foreign = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))
    with pytest.raises(
        TokenizerMissing, match=r"has no <\|im_start\|> token.*copy tokenizer\.json of the language model"
    ):
        build(foreign, "what?", frames=1, seconds=1)
    with pytest.raises(InputMismatch, match="question is empty"):
        build(TOKENIZER, " \n", frames=1, seconds=1)


def test_ids_with_places_for_the_video() -> None:
    prompt = from_ids(np.array([1, 2, -200, 3]))
    assert (prompt.before.tolist(), prompt.after.tolist()) == ([1, 2], [3])
    with pytest.raises(InputMismatch, match="2 <image> places but 1 video"):
        from_ids(np.array([-200, -200]))
    with pytest.raises(
        InputMismatch, match="0 <image> places but 1 video or picture was given; put one -200 where each goes"
    ):
        from_ids(np.array([1]))
    with pytest.raises(InputMismatch, match="2 token ids but 3 labels"):
        from_ids(np.array([1, -200]), np.array([1, 2, 3]))


def test_query_positions_run_on_from_text_to_video_to_text() -> None:
    visual = np.array([0.0, 2.0, 64.0, 65.0])
    plan = plan_queries(visual, Prompt(np.arange(3), np.arange(2), slice(1, 2)))
    np.testing.assert_array_equal(plan.positions, [0, 1, 2, 3, 5, 67, 68, 69, 70])
    assert plan.visual == (slice(3, 7),)
    np.testing.assert_array_equal(plan.question, [8])


def test_query_positions_of_several_pictures_follow_a_running_maximum() -> None:
    """The published formula: with n tokens before and N pictures of 729 patches, newlines stand at n + N * 729, n + 2 N * 729 + 1, ..."""
    n, count = 4, 3
    layout = plan_pictures(count, 27, ForgettingConfig(spatial="uniform"), seed=0)
    ids = np.array([7] * n + [IMAGE_ID, IMAGE_ID, 8, 9, IMAGE_ID, 10])  # none, then two tokens between them
    prompt = from_ids(ids, media=count)
    assert (prompt.before.tolist(), prompt.after.tolist(), prompt.further) == ([7] * n, [8, 9, 10], (0, 2))
    plan = plan_queries(layout.query_position_ids(), prompt, layout.query_groups())
    own, newline = layout.query_position_ids().reshape(count, 197), count * 729
    first = own[0] + n
    assert first[-1] == n + newline
    second = own[1] + first[-1] + 1
    assert (second[0], second[-1]) == (n + newline + 1 + 729, n + 2 * newline + 1)
    between = second[-1] + 1 + np.arange(2)
    third = own[2] + between[-1] + 1
    np.testing.assert_array_equal(
        plan.positions, np.concatenate([np.arange(n), first, second, between, third, [third[-1] + 1]])
    )
    assert plan.visual == (slice(4, 201), slice(201, 398), slice(400, 597))
    np.testing.assert_array_equal(plan.question, [398, 399, 597])
    with pytest.raises(InputMismatch, match="prompt has 1 places for pictures, but 3 pictures were given"):
        plan_queries(layout.query_position_ids(), from_ids(np.array([1, IMAGE_ID])), layout.query_groups())


def test_supervised_tokens_take_no_place_among_the_queries() -> None:
    labels = np.array([-100, 5, -100, -100, 7, -100])
    plan = plan_queries(np.array([0.0, 1.0]), from_ids(np.array([4, 5, -200, 6, 7, 8]), labels))
    np.testing.assert_array_equal(plan.positions, [0, 1, 2, 3, 4])
    assert plan.visual == (slice(1, 3),)
    np.testing.assert_array_equal(plan.question, [3, 4])


def test_evidence_falls_back_to_all_text_when_no_question_token_joins() -> None:
    prompt = Prompt(np.arange(2), np.arange(3), slice(0, 0))
    np.testing.assert_array_equal(plan_queries(np.array([0.0]), prompt).question, [0, 1, 3, 4, 5])
