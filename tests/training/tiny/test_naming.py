"""How the study is initialised: names of what frames show, sentences, and the losses of early lessons."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import Architecture, LanguageGeometry, ModelPreset, TextGeometry, TowerGeometry
from afterview.model.memaug.attention import split_heads
from afterview.model.memaug.evidence import frame_attention
from afterview.model.memaug.rope import rotation
from afterview.training.tiny.bank import CODE, LABELS, VALUES, Bank, BankConfig, index_bank, plan_bank
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.naming import NamingConfig, learn_names, words_of_frames
from afterview.training.tiny.sentences import SentenceObjective, SentencesConfig, learn_sentences
from afterview.training.tiny.stage import StageContext
from afterview.training.tiny.stories import Shelf, StoryBatch, make_batch
from afterview.training.tiny.texts import Words
from afterview.training.world.vocabulary import COLOURS

Named = tuple[torch.Tensor, torch.Tensor]  # token ids of words, and which of them name each frame
FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)


def lesson(**changes: object) -> LessonPlan:
    values = {
        "name": "some", "kinds": {"colour": 1.0, "where": 1.0}, "frames": 40, "stories": 3, "questions": 4, "most": 1,
        "duration_s": (120, 300), "wobble": 0.0,
    }  # fmt: skip
    return LessonPlan.model_validate({**values, **changes})


def drawn(shelf: Shelf, tokenizer: PreTrainedTokenizerFast, **changes: object) -> StoryBatch:
    return make_batch(lesson(**changes), shelf, Words(tokenizer), FORGETTING, seed=2, number=0)


@pytest.fixture
def untrained(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    directory = tmp_path_factory.mktemp("words")
    tokenizer.save_pretrained(directory)
    tower = TowerGeometry(width=32, layers=1, heads=2, mlp_width=32, image_size=32, patch_size=4)
    language = LanguageGeometry(width=128, layers=1, heads=2, key_value_heads=2, mlp_width=64)
    text = TextGeometry(width=32, layers=1, heads=2, mlp_width=32, positions=48)
    architecture = Architecture(
        vision=tower,
        language=language,
        index_vision=tower,
        index_text=text,
        tokenizer=str(directory),
        memory_marks=("place",),
        tied=False,
    )
    preset = ModelPreset(name="fresh", architecture=architecture, memaug_depth=2)
    path = directory / "fresh.yaml"
    path.write_text(json.dumps(preset.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")  # JSON is YAML
    return load_pretrained(path, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def seen() -> tuple[Bank, torch.Tensor]:
    """A small bank, and features that encode what its frames show."""
    jobs = plan_bank(BankConfig(seeds=1, clips=40, backgrounds=4))
    frames = jobs[-1].first_frame + len(jobs[-1].times)
    bank = index_bank(jobs, np.zeros((frames, 1, 1, 3), np.uint8))
    looks = torch.randn(len(LABELS), 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(bank.labels.astype(np.int64))
    shown = sum(looks[n][labels[:, n]] * (labels[:, n] >= 0)[:, None] for n in range(len(LABELS)))
    return bank, shown[:, None].expand(-1, 64, -1).half()


def test_words_come_to_name_what_frames_show_and_attention_finds_it(
    untrained: AfterviewModel, tokenizer: PreTrainedTokenizerFast, seen: tuple[Bank, torch.Tensor]
) -> None:
    bank, features = seen
    labels = torch.from_numpy(bank.labels.astype(np.int64))
    vl = untrained.video_language

    def found() -> int:
        """For how many colours the word finds a frame that shows it."""
        block, table = vl.memaug.layers[0].cross_attn, vl.language.decoder.model.embed_tokens.weight
        with torch.no_grad():
            keys = block.Wkv(vl.projector(features[:, 0].float()))[:, : block.heads.key_value_width]
            queries = block.Wq(
                table[[tokenizer.encode(f" {colour}", add_special_tokens=False)[0] for colour in COLOURS]]
            )
        best = labels[(queries @ keys.T).argmax(1), LABELS.index("colour")]
        return int((best == torch.tensor([CODE["colour"][colour] for colour in COLOURS])).sum())

    before = found()
    learn_names(vl, tokenizer, bank, features, NamingConfig(steps=300, frames=64), seed=1)
    assert before <= 3
    assert found() >= len(COLOURS) - 1


def test_words_that_stand_together_are_looked_for_together(
    untrained: AfterviewModel, tokenizer: PreTrainedTokenizerFast, seen: tuple[Bank, torch.Tensor]
) -> None:
    """Asked for a red ring among red things and rings, MemAug's rows find the one that is both, before any training of the study."""
    bank, features = seen
    vl = untrained.video_language
    learn_names(vl, tokenizer, bank, features, NamingConfig(steps=600, frames=64), seed=1)
    block, table = vl.memaug.layers[0], vl.language.decoder.model.embed_tokens.weight
    colour, shape = LABELS.index("colour"), LABELS.index("shape")
    things = {(int(row[colour]), int(row[shape])): n for n, row in enumerate(bank.labels) if row[shape] >= 0}
    rows = list(things.values())

    def found(gather: bool) -> int:
        """For how many of these colours and shapes a question finds the right thing."""
        right = 0
        for (hue, form), row in things.items():
            text = f"In which place was the {VALUES['colour'][hue]} {VALUES['shape'][form]}?"
            x = table[tokenizer.encode(text, add_special_tokens=False)][None]
            rotary = rotation(100.0 + torch.arange(x.shape[1])[None], block.cross_attn.heads.dim, 1e6)
            still = rotation(torch.zeros(1, len(rows)), block.cross_attn.heads.dim, 1e6)
            with torch.no_grad():
                x = block.gather(x, rotary, None) if gather else x
                keys, _ = block.cross_attn.keys_values(vl.projector(features[rows, 0].float())[None], still)
                mass = frame_attention(split_heads(block.cross_attn.Wq(x), block.cross_attn.heads.dim), keys, 1)
            right += rows[int(mass.argmax())] == row
        return right

    assert len(things) >= 12
    assert found(gather=True) > 0.8 * len(things)
    assert found(gather=True) > 1.5 * found(gather=False)


@pytest.fixture(scope="module")
def words_shown(tokenizer: PreTrainedTokenizerFast) -> Named:
    """Words of the bank that `shelf` is made of."""
    jobs = plan_bank(BankConfig(seeds=120))
    frames = jobs[-1].first_frame + len(jobs[-1].times)
    pixels = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (frames, 1, 1, 3), (0, 0, 0, 0))
    return words_of_frames(index_bank(jobs, pixels), tokenizer, torch.device("cpu"))


def test_what_is_told_is_what_the_proof_shows(
    words_shown: Named, shelf: Shelf, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids, shown = words_shown
    batch = drawn(shelf, tokenizer, kinds={"colour": 1.0}, frames=60, duration_s=(60, 90), questions=2, stories=6)
    named = to_device(batch, torch.zeros(1, 1, 1).expand(len(shown), 1, 1), shown).named
    proven = 0
    for row, wanted in enumerate(named):
        words = {tokenizer.decode(token).strip() for token in ids[wanted]}
        answer = tokenizer.decode(batch.answers[row][: batch.answer_lengths[row]], skip_special_tokens=True)
        if batch.denied[row]:
            assert answer == "not seen"
            assert not words
        elif batch.needles[row].any():
            assert answer in words
            proven += 1
    assert proven >= 4


@pytest.mark.thorough
def test_sentences_are_learnt_from_words_that_stay_as_they_were_named(
    untrained: AfterviewModel, words_shown: Named, shelf: Shelf, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A finished stage is also skipped."""
    ids, shown = words_shown
    plan = lesson(kinds={"size": 1.0, "exists": 1.0}, stories=8, questions=6, frames=20)
    rates = {"steps": 100, "learning_rates": {"language": 2e-3}, "betas": (0.9, 0.98), "log_every": 20}
    config = SentencesConfig.model_validate({"trainer": rates, "lesson": plan})
    language = untrained.video_language.language
    before = language.decoder.model.embed_tokens.weight.detach().clone()
    features = torch.zeros(1, 1, 1).expand(len(shown), 1, 1)

    @cache
    def batch(number: int) -> StoryBatch:
        return make_batch(plan, shelf, Words(tokenizer), FORGETTING, seed=1, number=number)

    def draw(lesson: LessonPlan, number: int) -> StoryBatch:
        assert lesson == plan
        return batch(number % 10)

    def learn() -> bool:
        context = StageContext(tmp_path / "sentences", 1, torch.device("cpu"), math.inf)
        return learn_sentences(language, Words(tokenizer).head, (ids, shown), draw, features, config, context)

    assert learn()
    assert torch.equal(language.decoder.model.embed_tokens.weight, before.half().float())
    log = [json.loads(line) for line in (tmp_path / "sentences" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.2 * log[0]["loss"]
    assert log[-1]["accuracy/size"] > 0.7
    learned = language.decoder.lm_head.weight.detach().clone()
    language.decoder.lm_head.weight.data.zero_()
    assert learn()
    assert torch.equal(language.decoder.lm_head.weight, learned)
    assert len((tmp_path / "sentences" / "log.jsonl").read_text().splitlines()) == len(log)


def test_a_question_counts_where_its_answer_follows_from_what_is_told(
    untrained: AfterviewModel, words_shown: Named, shelf: Shelf, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids, shown = words_shown
    batch = drawn(shelf, tokenizer)
    moved = to_device(batch, torch.zeros(1, 1, 1).expand(len(shown), 1, 1), shown)
    objective = SentenceObjective(untrained.video_language.language, Words(tokenizer).head, ids, (1.0, 1.0))
    whole = objective(moved)
    untold = torch.zeros(len(moved.kinds), dtype=torch.bool)
    untold[0] = True
    needles, denied = moved.needles & ~untold[:, None], moved.denied & ~untold
    without = replace(moved, needles=needles, denied=denied)
    other = replace(without, answers=torch.where(untold[:, None], 5, moved.answers))
    assert whole.loss != objective(without).loss
    assert objective(without).loss == objective(other).loss
    asked = sum(int(value) for name, value in objective(without).figures.items() if name.endswith("/asked"))
    assert asked == int((needles.any(1) | denied).sum())


def test_of_what_was_not_seen_the_likest_frame_is_told(
    untrained: AfterviewModel, words_shown: Named, shelf: Shelf, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids, shown = words_shown
    batch = drawn(shelf, tokenizer, kinds={"exists": 1.0}, stories=4, questions=8)
    moved = to_device(batch, torch.zeros(1, 1, 1).expand(len(shown), 1, 1), shown)
    objective = SentenceObjective(untrained.video_language.language, Words(tokenizer).head, ids, (1.0, 1.0))
    torch.manual_seed(0)
    mistaken = objective._mistaken(moved)
    misled = mistaken.any(1)
    assert not (misled & ~moved.denied).any()
    assert misled.sum() > 0.6 * moved.denied.sum()
    asked = ((moved.after[..., None] == ids) & moved.asked[..., None]).any(1)
    for row in torch.nonzero(misled)[:, 0].tolist():
        frames = shown[torch.from_numpy(batch.rows[row // 8])]
        shared = (frames & asked[row]).sum(1)
        assert int((mistaken[row] & asked[row]).sum()) == int(shared.max())
        assert (frames == mistaken[row]).all(1).any()
