"""The index's image-text encoder: a SigLIP or SigLIP 2 model of a fixed resolution, with both towers.

It maps frames and questions into one space.

Published Hour-LLaVA towers have neither a pooling head nor a text tower, so search needs its own encoder.

Legend: B frames, S pixels per side, N texts, De width of an embedding.
"""

import re
import string
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, SiglipConfig, SiglipModel

from afterview.memory.base.feature_spec import IndexSpec
from afterview.model.base.errors import CheckpointError, InputMismatch, TokenizerMissing
from afterview.model.vision.tower import pixels

_GEMMA_END = "<eos>"  # SigLIP's own tokenizer ends with "</s>"


def build_index_model(config: Mapping[str, Any]) -> SiglipModel:
    """Both towers of a SigLIP configuration, parameters on the meta device. Raises CheckpointError for another model type."""
    if config.get("model_type") != "siglip" or "text_config" not in config:
        raise CheckpointError(
            f"an index encoder of type {config.get('model_type') or 'that config.json does not name'} is not supported; use a SigLIP or "
            "SigLIP 2 checkpoint of a fixed resolution (not naflex), with both towers"
        )
    with torch.device("meta"):
        model = SiglipModel(SiglipConfig(**{k: v for k, v in config.items() if k != "model_type"}))
    vision, text = model.vision_model.embeddings, model.text_model.embeddings
    vision.position_ids = torch.arange(vision.num_positions)[None]
    text.position_ids = torch.arange(text.position_embedding.num_embeddings)[None]
    return model.eval()


class IndexEncoder:
    """Maps frames and texts to unit vectors. The inner product measures how well they match."""

    def __init__(
        self, model: SiglipModel, tokenizer: PreTrainedTokenizerBase | None, *, name: str, weights: str
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        vision = model.config.vision_config
        self.spec = IndexSpec(
            encoder=name, weights=weights, resolution=int(vision.image_size), width=int(vision.hidden_size)
        )

    @torch.inference_mode()
    def encode_images(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB [B, S, S, 3], S the spec's resolution, to float32 [B, De] of unit norm."""
        return _to_numpy(self.image_embeddings(frames))

    @torch.inference_mode()
    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Texts to float32 [N, De] of unit norm. Raises TokenizerMissing if the encoder has no tokenizer."""
        return _to_numpy(self.text_embeddings(texts))

    def surplus_tokens(self, text: str) -> int:
        """How many tokens of a text are beyond what the text tower reads; its embedding ignores them."""
        if self.tokenizer is None:
            return 0
        return max(0, len(_ids(self.tokenizer, text)) - (self.longest_text - 1))

    @property
    def longest_text(self) -> int:
        """Tokens that the text tower reads, with the end token."""
        return int(self.model.config.text_config.max_position_embeddings)

    def image_embeddings(self, frames: NDArray[np.uint8]) -> Tensor:
        """Unit vectors of images as a tensor; differentiable."""
        side = self.spec.resolution
        if frames.ndim != 4 or frames.shape[1:] != (side, side, 3):
            raise InputMismatch(
                f"frames of shape {frames.shape} were given to an index that takes [B, {side}, {side}, 3]"
            )
        like = next(self.model.vision_model.parameters())
        return functional.normalize(self.model.vision_model(pixels(frames, like)).pooler_output, dim=-1)

    def text_embeddings(self, texts: list[str]) -> Tensor:
        """Unit vectors of texts as a tensor; differentiable. Texts are padded to full length, as in SigLIP's training."""
        if self.tokenizer is None:
            raise TokenizerMissing(
                f"index encoder '{self.spec.encoder}' has no tokenizer, so it cannot embed text; put its tokenizer files beside it"
            )
        length = self.longest_text
        ids = torch.tensor([padded_ids(self.tokenizer, text, length) for text in texts])
        device = next(self.model.parameters()).device
        return functional.normalize(self.model.text_model(ids.to(device)).pooler_output, dim=-1)


def canonical(text: str) -> str:
    """Lower case, no ASCII punctuation, single spaces: the form of text that SigLIP was trained on."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", bare).strip()


def text_form(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The form of text that an encoder was trained on.

    SigLIP 2 has Gemma's tokenizer and was trained on lower case alone. Its files name a tokenizer that keeps capitals.
    """
    return text.strip().lower() if tokenizer.eos_token == _GEMMA_END else canonical(text)


def padded_ids(tokenizer: PreTrainedTokenizerBase, text: str, length: int) -> list[int]:
    """Token ids and the end token, padded to `length`. Longer texts are truncated."""
    ids = _ids(tokenizer, text)
    end = tokenizer.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    ids = [*ids[: length - 1], end]
    return ids + [pad] * (length - len(ids))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(
        text_form(tokenizer, text), add_special_tokens=False, split_special_tokens=True, verbose=False
    )["input_ids"]
    return ids


def _to_numpy(x_ND: Tensor) -> NDArray[np.float32]:
    unit = functional.normalize(x_ND.float(), dim=-1)  # in float32, whatever the weights' dtype
    return unit.cpu().numpy()
