"""Initialises the study: words that name what frames show, and keys that are found by these words.

Questions alone teach a new model very slowly which words mean what: it took tens of thousands of them to tell by a
question's words which of two or three things is meant. Naming frames for some seconds teaches this first. Hour-LLaVA's
first stage aligns the projector with the decoder's words by captions in the same way (arXiv 2506.05332, section 4).
MemAug's keys are then initialised equal to its queries, so they find what a word names before anything else is learned.

Legend: F frames, P cells, W words, D width, n frames of a batch, c cells of each.
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from afterview.configs import Schema
from afterview.model.checkpoint.init import BRANCH_SCALE
from afterview.model.memaug.attention import CrossAttention, SelfAttention
from afterview.model.memaug.memaug import MemAugBlock
from afterview.model.video_language import VideoLanguageModel
from afterview.training.tiny.bank import LABELS, VALUES, Bank

_LOGGER = logging.getLogger(__name__)

_LEAST_LIKELY = -2.0  # initial bias of each word
# For the first self-attention: the share of randomness; how much larger than a row the sum taken from other rows is;
# e^_NEARNESS: how much likelier a neighbouring row is than a distant one; e^_NAMING: a naming word than another word.
_CHANCE, _LOUDNESS, _NEARNESS, _NAMING = 0.3, 3.0, 6.0, 8.0
_RIDGE = 300.0


class NamingConfig(Schema):
    """Takes seconds on one CPU core."""

    steps: int = 600
    frames: int = 256  # per step
    cells: int = 4  # of each frame
    learning_rate: float = 2e-3


def learn_names(
    vl: VideoLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    bank: Bank,
    features: Tensor,
    config: NamingConfig,
    *,
    seed: int,
) -> None:
    """Train the projector and the word embeddings so that each token of a frame names what the frame shows.

    Then initialise MemAug's attention and the decoder's head from them. features: float16 [F, P, Dv]. The loss is
    binary for each word of the world.
    """
    ids, shown_FW = words_of_frames(bank, tokenizer, features.device)
    table = vl.language.decoder.model.embed_tokens.weight
    # Parts of the model may still be frozen.
    trained = [*(p.requires_grad_(True) for p in vl.projector.parameters()), table.requires_grad_(True)]
    strength = torch.zeros((), device=features.device, requires_grad=True)
    bias = torch.full((len(ids),), _LEAST_LIKELY, device=features.device, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [*trained, strength, bias], lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    decline = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.1, cycle_momentum=False
    )
    draw = torch.Generator().manual_seed(seed)
    for step in range(1, config.steps + 1):
        rows = torch.randint(len(features), (config.frames, 1), generator=draw).to(features.device)
        cells = torch.randint(features.shape[1], (config.frames, config.cells), generator=draw).to(features.device)
        tokens_ncD = vl.projector(features[rows, cells].to(table.dtype))
        width = tokens_ncD.shape[-1]
        alike = functional.layer_norm(tokens_ncD, (width,)) @ table[ids].T * width**-0.5
        logits, wanted = alike * strength.exp() + bias, shown_FW[rows].expand(-1, config.cells, -1)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none")
        loss.sum(-1).mean().backward()
        optimizer.step()
        decline.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == config.steps:
            named = (logits > 0) & wanted
            recall, precision = named.sum() / wanted.sum(), named.sum() / (logits > 0).sum().clamp(min=1)
            figures = (float(value) for value in (loss.detach().sum(-1).mean(), recall, precision))
            _LOGGER.info("step %d  loss %.3g  recall %.3g  precision %.3g", step, *figures)
    start_memaug(vl, ids, draw)
    with torch.no_grad():
        head = vl.language.decoder.get_output_embeddings().weight
        if head is not table:
            head.copy_(table * table.shape[1] ** -0.5)


@torch.no_grad()
def start_memaug(vl: VideoLanguageModel, ids: Tensor, draw: torch.Generator) -> None:
    """Initialise MemAug's attention from words that were learned: it finds what a word names. ids: of these words, [W]."""
    table = vl.language.decoder.model.embed_tokens.weight
    for number, block in enumerate(vl.memaug.layers):
        assert isinstance(block, MemAugBlock)
        _find_by_likeness(block.cross_attn, draw)
        if number == 0:
            _ask_together(block.self_attn, _naming_direction(table, ids), draw)


def words_of_frames(bank: Bank, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of the words, [W], and which of them name each frame, bool [F, W]."""
    labels = torch.from_numpy(bank.labels).to(device)
    of_token: dict[int, Tensor] = {}
    for column, label in enumerate(LABELS):
        for number, value in enumerate(VALUES[label]):
            for token in tokens_of(tokenizer, value):
                shown = labels[:, column] == number
                of_token[token] = of_token.get(token, torch.zeros_like(shown)) | shown
    return torch.tensor(list(of_token), device=device), torch.stack(list(of_token.values()), 1)


def tokens_of(tokenizer: PreTrainedTokenizerBase, value: str) -> Sequence[int]:
    """Tokens of a word in the middle and at the start of a sentence; of digits and letters, without the space between."""
    space = tokenizer.encode(" ", add_special_tokens=False)
    both = (tokenizer.encode(text, add_special_tokens=False) for text in (value, f" {value}"))
    return [token for tokens in both for token in tokens if [token] != space]


def _find_by_likeness(attention: CrossAttention, draw: torch.Generator) -> None:
    """Initialise keys equal to queries, so that a row first finds what is similar to it; values pass through unchanged but small.

    Does nothing if there are fewer key heads than query heads.
    """
    if attention.heads.query == attention.heads.key_value:
        width = attention.heads.key_value_width
        alike, same = (_rotation_like(attention.Wq.weight, draw) for _ in range(2))
        attention.Wq.weight.copy_(alike)
        attention.Wkv.weight[:width], attention.Wkv.bias[:width] = alike, attention.Wq.bias
        attention.Wkv.weight[width:] = same
        attention.Wo.weight.copy_(BRANCH_SCALE * same.T)


def _ask_together(attention: SelfAttention, naming_D: Tensor, draw: torch.Generator) -> None:
    """Initialise each row with the naming words near it: "the red ring" is then searched as one thing, not as red things and rings."""
    heads = attention.heads
    if heads.query != heads.key_value or heads.dim < 16:
        return
    to_queries, to_keys, to_values = attention.Wqkv.weight.chunk(3)
    query_bias, key_bias, _ = attention.Wqkv.bias.chunk(3)
    to_queries *= _CHANCE
    to_keys *= _CHANCE
    same = _rotation_like(attention.Wo.weight, draw)
    to_values.copy_(same)
    attention.Wo.weight.copy_(_LOUDNESS * same.T)
    turned = heads.dim // 4  # pairs of dimensions that rotary positions rotate; they leave the head's second half alone
    near = range(2, min(6, turned))
    for first in range(0, heads.width, heads.dim):
        for pair in near:
            for weight, bias in ((to_queries, query_bias), (to_keys, key_bias)):
                weight[first + pair] = weight[first + pair + turned] = 0.0
                bias[first + pair] = (_NEARNESS * heads.dim**0.5 / len(near)) ** 0.5
        named = first + heads.dim // 2
        to_queries[named], query_bias[named] = 0.0, 1.0
        to_keys[named] = _NAMING * heads.dim**0.5 * naming_D


def _naming_direction(table: Tensor, ids: Tensor) -> Tensor:
    """A vector [D] whose product with an embedding is near 1 for naming words and near 0 for others (ridge regression)."""
    names = torch.zeros(len(table), device=table.device)
    names[ids] = 1.0
    ridge = _RIDGE * torch.eye(table.shape[1], device=table.device)
    return torch.linalg.solve(table.T @ table + ridge, table.T @ names)


def _rotation_like(weight: Tensor, draw: torch.Generator) -> Tensor:
    """A random rotation. It preserves similarity."""
    drawn = torch.empty(weight.shape).normal_(generator=draw)
    return torch.linalg.qr(drawn)[0].to(weight)
