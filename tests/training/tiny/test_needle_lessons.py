"""The needle lessons, from the shipped weights to a model, in miniature."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.base.errors import TrainingError
from afterview.training.core.parts import parameter_groups, parts_of
from afterview.training.tiny.needle_bank import PicturesConfig, plan_gallery
from afterview.training.tiny.needle_lessons import NeedleRecipe, learning_parts, mix_weights, teach_needles
from afterview.training.tiny.needle_stories import Albums
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

RECIPE = Path(__file__).parents[3] / "configs" / "training" / "tiny-needles.yaml"
PRESET = Path(__file__).parents[3] / "configs" / "presets" / "tiny"


def miniature(steps: int = 2) -> NeedleRecipe:
    recipe = load(RECIPE, NeedleRecipe)
    value = recipe.model_dump(mode="json") | {"starts_from": "tiny"}
    value["needle_bank"] |= {"seeds": 4, "clips": 66, "backgrounds": 4, "encoded": 0.0}
    value["pictures"] |= {"seeds": 1}
    value["clues"] = {"steps": 3}
    value["study"]["trainer"] |= {"steps": steps, "save_every": 1, "log_every": 1, "precision": "no"}
    for lesson in value["study"]["lessons"]:
        lesson["stories"] |= {"stories": 1, "questions": 2}
        lesson["needles"] |= {"stories": 1, "questions": 2}
    return NeedleRecipe.model_validate(value)


def test_the_recipe_takes_seeds_that_the_encoders_were_not_trained_with() -> None:
    recipe = load(RECIPE, NeedleRecipe)
    assert recipe.needle_bank.first_seed >= FIRST_TRAINING_SEED + 160
    assert recipe.pictures.first_seed >= recipe.needle_bank.first_seed + recipe.needle_bank.seeds


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
