"""A model that only finds frames: SigLIP 2 in its published layout, without a decoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import Siglip2Tokenizer, SiglipModel

from afterview.configs import ConfigError
from afterview.memory.base.feature_spec import NO_TOKENS
from afterview.model.base.errors import InputMismatch, NoLanguageModel
from afterview.model.catalogue.catalogue import catalogue, sizes
from afterview.model.checkpoint.finding import FindingModel, require_answers
from afterview.model.checkpoint.for_questions import load_for_questions
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.preset import find_preset
from afterview.model.download.needed import needed_models
from afterview.model.vision.index_encoder import build_index_model, padded_ids
from tests.support.siglip2 import write_search_preset

TEXTS = ["A photo of a RED car, please!", "two dogs", "Überfall \N{SNOWMAN}", "", "word " * 200]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("search")
    write_search_preset(directory)
    return directory


@pytest.fixture(scope="module")
def model(place: Path) -> FindingModel:
    found = load_for_questions(place / "search.yaml", device="cpu")
    assert isinstance(found, FindingModel)
    return found


def test_texts_are_prepared_as_by_siglip_2(place: Path, model: FindingModel) -> None:
    tokenizer = model.encoders.index.tokenizer
    assert tokenizer is not None
    published = Siglip2Tokenizer.from_pretrained(place / "siglip2")
    for text in TEXTS[:-1]:
        expected = published(text, padding="max_length", max_length=64, truncation=True)["input_ids"]
        assert padded_ids(tokenizer, text, 64) == expected
    long = padded_ids(tokenizer, TEXTS[-1], 64)
    assert (len(long), long[-1]) == (64, tokenizer.eos_token_id)  # the last token is the end, as in its training
    assert model.encoders.index.surplus_tokens(TEXTS[-1]) > 100


def test_embeddings_are_those_of_transformers(place: Path, model: FindingModel) -> None:
    index = model.encoders.index
    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    reference = SiglipModel.from_pretrained(place / "siglip2").eval()
    values = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    ids = torch.tensor([padded_ids(index.tokenizer, text, 64) for text in TEXTS])  # type: ignore[arg-type]
    with torch.inference_mode():
        images = reference.vision_model(values).pooler_output
        texts = reference.text_model(ids).pooler_output
    for own, theirs in ((index.encode_images(frames), images), (index.encode_texts(TEXTS), texts)):
        np.testing.assert_allclose(own, torch.nn.functional.normalize(theirs, dim=-1).numpy(), atol=1e-5)


def test_a_frame_is_an_embedding_and_nothing_else(model: FindingModel) -> None:
    spec = model.encoders.feature_spec
    assert (spec.tokens.encoder, spec.tokens.tokens_per_frame, spec.tokens.width) == (NO_TOKENS, 1, 1)
    assert (spec.tokens.resolution, spec.index.width) == (64, 32)
    frames = np.zeros((3, 64, 64, 3), dtype=np.uint8)
    tokens = model.encoders.vision.encode(frames)
    assert (tokens.shape, tokens.dtype, tokens.any()) == ((3, 1, 1), np.float16, False)
    with pytest.raises(InputMismatch, match="has no vision tower"):
        model.encoders.vision.features(frames)


def test_what_needs_a_decoder_refuses_it_and_says_what_to_do(place: Path) -> None:
    for load in (load_pretrained, lambda name: load_encoders(name, with_index=False)):
        with pytest.raises(
            NoLanguageModel, match=r"finds frames and does not answer.*--answer-with URL.*afterview models"
        ):
            load(place / "search.yaml")
    with pytest.raises(NoLanguageModel, match="training needs a language model, which 'search' does not have"):
        require_answers(find_preset("search"), "training")
    require_answers(find_preset("tiny"), "training")


def test_the_shipped_preset_needs_one_model_whose_sizes_are_those_of_the_published_shapes() -> None:
    preset, shape = find_preset("search"), catalogue()["search"].encoder
    assert [(one.name, one.part) for one in needed_models(preset)] == [
        ("google/siglip2-base-patch16-224", "index encoder")
    ]
    assert shape is not None
    tower = {
        "hidden_size": shape.width, "num_hidden_layers": shape.layers, "intermediate_size": shape.mlp_width,
        "num_attention_heads": 12,
    }  # fmt: skip
    text = {**tower, "vocab_size": shape.vocabulary, "bos_token_id": 2, "eos_token_id": 1}
    built = build_index_model(
        {"model_type": "siglip", "vision_config": {**tower, "image_size": 224, "patch_size": 16}, "text_config": text}
    )
    assert sum(p.numel() for p in built.parameters()) == shape.parameters == 375_187_970
    need = sizes(catalogue()["search"], bytes_per_parameter=4)
    assert need is not None
    assert (need.download, need.memory, need.disk_per_hour) == (1_500_751_880, 1_500_751_880, 3600 * (768 * 4 + 2))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"checkpoint": "owner/name"}, "exactly one of: checkpoint, encoder with decoder, architecture, finds_only"),
        ({"index_encoder": None}, "finds_only needs an index_encoder"),
        ({"recall": {"budget": 8}}, "so recall means nothing; remove it"),
        ({"finds_only": "perhaps"}, "finds_only"),
    ],
)
def test_a_preset_that_makes_no_sense_is_refused(keys: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({"name": "wrong", "finds_only": True, **keys}))
    with pytest.raises(ConfigError, match=message):
        find_preset(path)
