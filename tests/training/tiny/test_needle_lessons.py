"""The needle lessons, from the shipped weights to a model, in miniature."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.language.moments import BETWEEN, LASTING, MOMENT, POINTERS, option_id, pointer_ids
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.training.base.errors import TrainingError
from afterview.training.core.parts import parameter_groups, parts_of
from afterview.training.tiny.bank import plan_bank
from afterview.training.tiny.lettered import LetteredWords
from afterview.training.tiny.needle_bank import PicturesConfig, plan_gallery
from afterview.training.tiny.needle_lessons import NeedleRecipe, _School, learning_parts, mix_weights, teach_needles
from afterview.training.tiny.needle_stories import Albums
from afterview.training.tiny.pointing import with_pointers
from afterview.training.tiny.stories import shelf_of
from afterview.training.tiny.texts import answer_of
from afterview.training.world import QuestionPlan, make_script, multiple_choice, questions_at, settled_time
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

RECIPES = Path(__file__).parents[3] / "configs" / "training"
RECIPE, LENGTHS, OPTIONS = (RECIPES / f"tiny-{name}.yaml" for name in ("needles", "lengths", "options"))
PRESET = Path(__file__).parents[3] / "configs" / "presets" / "tiny"


def miniature(steps: int = 2, path: Path = RECIPE) -> NeedleRecipe:
    recipe = load(path, NeedleRecipe)
    value = recipe.model_dump(mode="json") | {"starts_from": "tiny"}
    value["needle_bank"] |= {"seeds": 4, "clips": 66, "backgrounds": 4, "encoded": 0.0}
    value["pictures"] |= {"seeds": 1}
    value["clues"] = value["clues"] and {"steps": 3}
    value["study"]["trainer"] |= {"steps": steps, "save_every": 1, "log_every": 1, "precision": "no"}
    lessons = value["study"]["lessons"]
    for number, lesson in enumerate(lessons, 1):
        lesson["until"] = max(1, steps * number // len(lessons))  # a step of each, or of the last ones
        lesson["stories"] |= {"stories": 1, "questions": 2}
        if lesson["needles"]:
            lesson["needles"] |= {"stories": 1, "questions": 2}
    return NeedleRecipe.model_validate(value)


@pytest.mark.parametrize("path", [RECIPE, LENGTHS, OPTIONS])
def test_a_recipe_takes_seeds_that_the_encoders_were_not_trained_with(path: Path) -> None:
    recipe = load(path, NeedleRecipe)
    assert recipe.needle_bank.first_seed >= FIRST_TRAINING_SEED + 160
    assert recipe.pictures.first_seed >= recipe.needle_bank.first_seed + recipe.needle_bank.seeds


@pytest.mark.parametrize(
    ("path", "changes", "shared"),
    [
        (OPTIONS, {}, True),
        (OPTIONS, {"keeps": "tiny"}, False),  # another teacher
        (OPTIONS, {"clues": {"steps": 3}}, False),  # the projector has learnt
        (LENGTHS, {}, False),  # the words' embeddings learn
        (RECIPE, {}, False),
    ],
)
def test_what_comes_before_the_decoder_is_shared_only_where_it_stays_the_teachers(
    path: Path, changes: dict[str, object], shared: bool
) -> None:
    value = load(path, NeedleRecipe).model_dump(mode="json")
    assert NeedleRecipe.model_validate(value | changes).keeps_what_comes_before_the_decoder == shared


def test_a_lesson_of_few_batches_shows_the_same_again_and_new_ones_are_always_others() -> None:
    recipe = miniature(steps=8, path=OPTIONS)
    few, new = recipe.study.lessons
    few = few.model_copy(update={"batches": 3})
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    shelf, gallery = shelf_of(plan_bank(recipe.needle_bank)), plan_gallery(recipe.pictures, 100)
    table = torch.zeros(100_000, 1, 1)
    school = _School(
        recipe, model, shelf, Albums.of(gallery), LetteredWords(model.tokenizer), table, torch.zeros(0), torch.zeros(len(table), 0)
    )  # fmt: skip
    stage = recipe.study.model_copy(update={"lessons": (few, new)})
    batch = school.batches(stage)
    drawn = [batch(number) for number in range(16)]
    assert [one.draw for one in drawn[:8]] == [0, 1, 2, 0, 1, 2, 0, 1]  # of stories, both batches of a step
    assert torch.equal(drawn[0].after, drawn[3].after)
    assert torch.equal(drawn[1].numbers, drawn[7].numbers)
    assert drawn[0].after.shape != drawn[1].after.shape or not torch.equal(drawn[0].after, drawn[1].after)
    assert all(one.draw is None for one in drawn[8:])
    assert all(one.openings is not None for one in drawn[9::2])  # needles
    assert len({one.after.tolist().__repr__() for one in drawn[8::2]}) == 4


def test_what_is_kept_is_that_of_the_model_at_the_beginning_unless_another_is_named() -> None:
    recipe = load(RECIPE, NeedleRecipe)
    assert recipe.teacher == recipe.starts_from == "./tiny-output/model"
    assert recipe.model_copy(update={"starts_from": "lessons/model", "keeps": "tiny"}).teacher == "tiny"


def test_first_blocks_that_stay_do_not_learn_and_some_block_does() -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    everything = parts_of(model.video_language, model.vision.tower)["memaug"]
    parts = learning_parts(model.video_language, model.vision.tower, still_blocks=1)
    first = list(model.video_language.memaug.layers[0].parameters())
    assert [id(weights) for weights in parts["still"]] == [id(weights) for weights in first]
    assert {id(weights) for weights in (*parts["memaug"], *first)} == {id(weights) for weights in everything}
    assert "vision" not in parts
    parameter_groups(parts, {"projector": 1e-4, "memaug": 1e-4, "language": 1e-4})
    assert not any(weights.requires_grad for weights in first)
    assert all(weights.requires_grad for weights in parts["memaug"])
    words = model.video_language.language.decoder.model.embed_tokens.weight
    assert words.requires_grad
    parts = learning_parts(model.video_language, model.vision.tower, still_blocks=0, still_words=True)
    assert [id(weights) for weights in parts["still"]] == [id(words)]
    assert id(words) not in {id(weights) for weights in parts["language"]}
    assert len(parts["language"]) == len(parts_of(model.video_language, model.vision.tower)["language"]) - 1
    with pytest.raises(TrainingError, match="leaves none of the 4 blocks to learn"):
        learning_parts(model.video_language, model.vision.tower, still_blocks=4)


def test_weights_are_mixed_by_their_share() -> None:
    learnt, kept = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    wanted = 0.8 * learnt.weight.detach() + 0.2 * kept.weight.detach()
    unchanged = kept.weight.detach().clone()
    mix_weights(learnt, kept, 0.2)
    torch.testing.assert_close(learnt.weight.detach(), wanted)
    assert torch.equal(kept.weight.detach(), unchanged)
    with pytest.raises(ValidationError, match="share_kept"):
        NeedleRecipe.model_validate(miniature().model_dump(mode="json") | {"share_kept": 1.0})


def test_new_pointers_are_read_as_a_moment_and_nothing_calls_for_them_yet(tmp_path: Path) -> None:
    plain, model = (load_pretrained("tiny", device="cpu", dtype="float32") for _ in range(2))
    known = len(plain.tokenizer.get_vocab())
    grown = with_pointers(model, ["<|later|>", MOMENT, "<|sooner|>"])
    assert plain.tokenizer.get_vocab().items() <= grown.tokenizer.get_vocab().items()
    assert grown.tokenizer("a<|later|>b")["input_ids"].count(known) == 1
    before, after = plain.video_language.language.decoder, grown.video_language.language.decoder
    assert torch.equal(after.model.embed_tokens.weight[:known], before.model.embed_tokens.weight)
    moment = before.model.embed_tokens.weight[pointer_ids(plain.tokenizer)[MOMENT]]
    assert all(torch.equal(row, moment) for row in after.model.embed_tokens.weight[known:])
    assert len(after.model.embed_tokens.weight) == len(after.lm_head.weight) == known + 2
    assert torch.equal(after.lm_head.weight[:known], before.lm_head.weight)
    assert not after.lm_head.weight[known:].any()
    assert with_pointers(grown, ["<|later|>"]) is grown
    save_pretrained(grown, tmp_path)
    again = load_pretrained(tmp_path, device="cpu")
    assert again.tokenizer.get_vocab() == grown.tokenizer.get_vocab()
    assert again.config["vocab_size"] == again.video_language.language.decoder.config.vocab_size == known + 2


def test_a_model_without_moments_gets_no_pointers() -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    model = replace(model, tokenizer=byte_tokenizer())
    with pytest.raises(TrainingError, match=r"model tiny has no token <\|moment\|>"):
        with_pointers(model, [LASTING])


def test_kinds_that_nobody_asks_are_refused() -> None:
    value = load(LENGTHS, NeedleRecipe).model_dump(mode="json")
    value["study"]["lessons"][0]["keep"]["besides"] = ["gap", "gaps"]
    with pytest.raises(ValidationError, match="no question is of kind 'gaps'; there are: colour"):
        NeedleRecipe.model_validate(value)
    with pytest.raises(ValidationError, match="pointers"):
        NeedleRecipe.model_validate(value | {"pointers": ["<|later|>"]})


def test_lengths_are_answered_by_pointers_where_there_are_any() -> None:
    script = make_script(7, 600.0)
    asked = questions_at(script, settled_time(script, 600.0), QuestionPlan(count=80, kinds=("duration", "gap", "when")))
    said = {(question.kind, question.seen): answer_of(question, (*POINTERS, BETWEEN)) for question in asked}
    assert {kind: answer for (kind, seen), answer in said.items() if seen} == {
        "duration": LASTING, "gap": BETWEEN, "when": MOMENT,
    }  # fmt: skip
    assert {answer for (_, seen), answer in said.items() if not seen} == {"not seen"}
    assert all(answer_of(question, (MOMENT,)) == question.answer for question in asked if question.kind != "when")
    options = multiple_choice(next(question for question in asked if question.kind == "gap" and question.seen))
    assert answer_of(options, (*POINTERS, BETWEEN)) == options.answer


def test_too_few_pictures_are_refused() -> None:
    few = PicturesConfig(seeds=1, with_clue=2, without_clue=2, first_seed=FIRST_TRAINING_SEED)
    with pytest.raises(TrainingError, match="more seeds"):
        Albums.of(plan_gallery(few, 0))


@pytest.mark.thorough
def test_lessons_change_the_reader_and_leave_the_encoders(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not teach_needles(miniature(), out, deadline=0.0), "the time is up, and the features are kept"
    assert (out / "bank" / "features.f16").exists()
    assert teach_needles(miniature(), out)
    lines = [json.loads(line) for line in (out / "study" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    before, after = load_file(PRESET / "model.safetensors"), load_file(out / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if "vision_tower" in name or "resampler.layers.0." in name]
    assert [name for name in changed if "resampler.layers.1." in name]
    old, new = (load_file(place / "index_encoder" / "model.safetensors") for place in (PRESET, out / "model"))
    assert all(torch.equal(old[name], new[name]) for name in old)
    model = load_pretrained(out / "model")
    assert model.preset.positions == load_pretrained("tiny").preset.positions == "rank"
    assert model.encoders.feature_spec.tokens.weights == load_pretrained("tiny").encoders.feature_spec.tokens.weights


@pytest.mark.thorough
@pytest.mark.parametrize(("path", "words_learn"), [(LENGTHS, True), (OPTIONS, False)])
def test_lessons_of_the_decoder_change_nothing_else(path: Path, words_learn: bool, tmp_path: Path) -> None:
    assert teach_needles(miniature(path=path), tmp_path)
    before, after = load_file(PRESET / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    known = {name: after[name][: len(weights)] for name, weights in before.items()}  # the vocabulary may grow
    changed = {name for name in before if not torch.equal(before[name], known[name])}
    assert {"lm_head.weight", "model.layers.0.self_attn.q_proj.weight"} <= changed
    assert ("model.embed_tokens.weight" in changed) == words_learn
    assert not [
        name
        for name in changed
        if not name.startswith(("lm_head.", "model.embed_tokens.", "model.layers.", "model.norm."))
    ]
    model = load_pretrained(tmp_path / "model")
    assert model.tokenizer is not None
    assert pointer_ids(model.tokenizer).keys() == set(POINTERS)
    assert option_id(model.tokenizer) is not None  # of LENGTHS, because these lessons begin with the shipped model
    assert model.preset.memory_queries == "question"
