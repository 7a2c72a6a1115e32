"""What a new model's study begins with: names of what frames show, and what the evidence loss asks of early lessons."""

import json

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from memory.forgetting import ForgettingConfig
from model.checkpoint import load_pretrained
from model.loaded import AfterimageModel
from model.preset import Architecture, LanguageGeometry, ModelPreset, TextGeometry, TowerGeometry
from training.tiny.bank import CODE, LABELS, Bank, BankConfig, index_bank, plan_bank
from training.tiny.lessons import LessonPlan
from training.tiny.naming import NamingConfig, learn_names, naming_ids
from training.tiny.stories import Shelf, StoryBatch, Words, make_batch
from training.world import QuestionPlan, make_script, questions_at, settled_time
from training.world.vocabulary import COLOURS

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)


def drawn(shelf: Shelf, tokenizer: PreTrainedTokenizerFast, **changes: object) -> StoryBatch:
    values = {
        "name": "some", "kinds": {"colour": 1.0, "where": 1.0}, "frames": 40, "stories": 3, "questions": 4, "most": 1,
        "duration_s": (120, 300), "wobble": 0.0,
    }  # fmt: skip
    plan = LessonPlan.model_validate({**values, **changes})
    return make_batch(plan, shelf, Words(tokenizer), FORGETTING, seed=2, number=0)


def test_evidence_of_things_is_asked_of_the_words_that_name_them_and_of_their_cells(
    shelf: Shelf, tokenizer: PreTrainedTokenizerFast
) -> None:
    batch = drawn(shelf, tokenizer, evidence="things")
    plain = drawn(shelf, tokenizer)
    assert np.array_equal(batch.after, plain.after)
    for row in range(len(batch.after)):
        start, end = batch.question[row]
        assert plain.proving[row].tolist() == [start <= place < end for place in range(plain.after.shape[1])]
        said = tokenizer.decode(batch.after[row][batch.proving[row]])
        assert any(word in said for word in (*COLOURS, "circle", "square", "triangle", "star", "cross", "ring"))
        assert not {"what", "which", "colour", "was", "the"} & set(said.lower().split())
    assert plain.cells.all()
    on_show = batch.cells.any(2)
    assert not batch.cells[..., -1].any()  # a newline lies nowhere
    assert (batch.needles <= on_show.repeat(4, axis=0)).all()
    sizes = batch.cells.sum(2)[on_show]
    assert sizes.min() >= 1
    assert sizes.max() <= 32  # half a frame


def test_a_lesson_may_keep_to_the_plainest_wordings() -> None:
    script = make_script(2**32, 600.0)
    at = settled_time(script, 600.0)
    few = questions_at(script, at, QuestionPlan(count=40, plainest=2))
    assert {question.wording for question in few} == {0, 1}
    assert len({question.wording for question in questions_at(script, at, QuestionPlan(count=40))}) > 10


@pytest.fixture
def fresh(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> AfterimageModel:
    directory = tmp_path_factory.mktemp("words")
    tokenizer.save_pretrained(directory)
    tower = TowerGeometry(width=32, layers=1, heads=2, mlp_width=32, image_size=32, patch_size=4)
    language = LanguageGeometry(width=64, layers=1, heads=2, key_value_heads=2, mlp_width=64)
    text = TextGeometry(width=32, layers=1, heads=2, mlp_width=32, positions=48)
    architecture = Architecture(
        vision=tower,
        language=language,
        index_vision=tower,
        index_text=text,
        tokenizer=str(directory),
        memory_marks=("place",),
    )
    preset = ModelPreset(name="fresh", architecture=architecture, memaug_depth=2)
    path = directory / "fresh.yaml"
    path.write_text(json.dumps(preset.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")  # JSON is YAML
    return load_pretrained(path, device=torch.device("cpu"), dtype=torch.float32)


def test_words_come_to_name_what_frames_show_and_attention_finds_it(
    fresh: AfterimageModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    jobs = plan_bank(BankConfig(seeds=1, clips=12, backgrounds=4))
    frames = jobs[-1].first_frame + len(jobs[-1].times)
    bank: Bank = index_bank(jobs, np.zeros((frames, 1, 1, 3), np.uint8))
    looks = torch.randn(len(LABELS), 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(bank.labels.astype(np.int64))
    seen = sum(looks[n][labels[:, n]] * (labels[:, n] >= 0)[:, None] for n in range(len(LABELS)))
    features = seen[:, None].expand(-1, 64, -1).half()
    vl = fresh.video_language

    def found() -> int:
        """Of how many colours the word finds a frame that shows it."""
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


def test_the_words_that_name_are_colours_shapes_places_and_cards_but_no_object(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    naming = naming_ids(tokenizer)
    (red,) = tokenizer.encode(" red", add_special_tokens=False)
    (thing,) = tokenizer.encode(" object", add_special_tokens=False)
    assert red in naming
    assert thing not in naming
