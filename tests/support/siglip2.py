"""A made SigLIP 2 in the published layout of google/siglip2-base-patch16-224: random weights, and a small tokenizer of Gemma's kind."""

import json
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import SiglipConfig, SiglipModel

_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")  # Gemma's first ids
_TEXTS = (
    "a photo of a red car", "a person at the front door", "two dogs on the street", "a white van in front of the house",
    "a blue square and a green ring", "somebody carries a parcel", "people walk", "a bicycle",
)  # fmt: skip


def write_siglip2(directory: Path, *, width: int = 32, layers: int = 2, resolution: int = 64, seed: int = 0) -> Path:
    """The checkpoint: config.json, model.safetensors, tokenizer.json, tokenizer_config.json. resolution: pixels, in patches of 16."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _gemma_like()
    shape = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
    }
    text = {
        **shape, "model_type": "siglip_text_model", "vocab_size": tokenizer.get_vocab_size(), "projection_size": width,
        "max_position_embeddings": 64, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {**shape, "model_type": "siglip_vision_model", "image_size": resolution, "patch_size": 16}
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    for name, value in model.named_parameters():  # as spread as trained ones: frames must differ in the index
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=1.0 if "embedding" in name else value[0].numel() ** -0.5)
    torch.set_rng_state(state)
    model.save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True, "model_max_length": 64,
        "padding_side": "right", "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>",
    }  # fmt: skip
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def write_search_preset(directory: Path, name: str = "search", **shape: int) -> Path:
    """A preset file like the shipped `search`, with a made encoder beside it."""
    write_siglip2(directory / "siglip2", **shape)
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "finds_only": True, "index_encoder": "siglip2"}))
    return path


def _gemma_like() -> Tokenizer:
    """Byte-pair encoding with bytes to fall back on, as Gemma's; capitals are kept, as the published files keep them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\N{LOWER ONE EIGHTH BLOCK}")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\N{LOWER ONE EIGHTH BLOCK}", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    pieces = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        _TEXTS, trainers.BpeTrainer(vocab_size=512, special_tokens=pieces, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return tokenizer
