"""Texts that teach letters: their truth, and that the losses ask for it."""

import pytest
import torch

from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.tiny.letters import LettersObjective, make_letter_batch
from afterview.training.tiny.needle_stories import LESSON_KINDS
from afterview.training.tiny.texts import Words


@pytest.fixture(scope="module")
def words() -> Words:
    tokenizer = load_pretrained("tiny").tokenizer
    assert tokenizer is not None
    return Words(tokenizer)


def test_the_letter_is_that_of_the_option_that_was_said(words: Words) -> None:
    batch = make_letter_batch(words, 40, seed=1, number=0)
    for ids, length, owners, verdicts in zip(batch.ids, batch.lengths, batch.owners, batch.verdicts, strict=True):
        text = words._core.decode(ids[:length].tolist(), skip_special_tokens=False)
        letter = words._core.decode([int(ids[length - 2])])
        said, _, rest = text.partition("\n")
        mark = f"({letter}) " if f"({letter}) " in rest else f"{letter}. "
        option = rest.split(mark)[1].split("\n")[0].split("<|im_end|>")[0]
        assert option in said
        owned = ids[owners == words.ids(letter)[0]]
        assert words._core.decode(owned.tolist()).strip() == option
        assert torch.equal(owners == words.ids(letter)[0], verdicts == words.ids(letter)[0])
        assert (owners[length:] == -100).all()


def test_a_batch_depends_on_its_number_alone(words: Words) -> None:
    one, same, other = (make_letter_batch(words, 8, seed=1, number=number) for number in (0, 0, 1))
    assert torch.equal(one.ids, same.ids)
    assert one.ids.shape != other.ids.shape or not torch.equal(one.ids, other.ids)


def test_the_losses_fall_when_letters_are_learnt(words: Words) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32").video_language.language
    objective = LettersObjective(model, words.head, torch.zeros(0, dtype=torch.long), (0.3, 1.5), LESSON_KINDS)
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        output = objective(make_letter_batch(words, 8, seed=1, number=0))
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(output.loss))
    assert losses[-1] < 0.7 * losses[0]
    assert set(output.figures) >= {"letter/right", "owner/right", "verdict/right"}
