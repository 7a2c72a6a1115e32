"""What the study begins with where all is new: words that name what frames show, and keys that are found by them.

Questions teach a beginner very slowly which words mean which sights: to tell by a question's words which of two or three things is meant
took tens of thousands of them. Seconds of naming frames do that first, as Hour-LLaVA's first stage aligns the projector with the
decoder's words by captions (arXiv 2506.05332, section 4). Keys of MemAug that begin as its queries then find what a word names
before anything else is learnt.

Legend: F frames, P cells, W words, D width, n frames of a batch, c cells of each.
"""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from configs import Schema
from model.attention import CrossAttention
from model.fresh import BRANCH_SCALE
from model.memaug import MemAugBlock
from model.video_language import VideoLanguageModel
from training.tiny.bank import LABELS, VALUES, Bank

_LEAST_LIKELY = -2.0  # where the words' biases begin


class NamingConfig(Schema):
    """Seconds on one CPU core."""

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
    """Teach projector and word embeddings that each token of a frame names what the frame shows.

    MemAug's attention and the decoder's head then begin from that.

    features: float16 [F, P, Dv]. The loss is a yes or no for each word of the world.
    """
    ids, shown_FW = words_of_frames(bank, tokenizer, features.device)
    table = vl.language.decoder.model.embed_tokens.weight
    # The model may be frozen in whole or part as yet.
    taught = [*(p.requires_grad_(True) for p in vl.projector.parameters()), table.requires_grad_(True)]
    strength = torch.zeros((), device=features.device, requires_grad=True)
    bias = torch.full((len(ids),), _LEAST_LIKELY, device=features.device, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [*taught, strength, bias], lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
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
            print(
                f"step {step}  loss {loss.sum(-1).mean():.3g}  recall {recall:.3g}  precision {precision:.3g}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
    with torch.no_grad():
        for block in vl.memaug.layers:
            assert isinstance(block, MemAugBlock)
            _find_by_likeness(block.cross_attn)
        head = vl.language.decoder.get_output_embeddings().weight
        if head is not table:
            head.copy_(table * table.shape[1] ** -0.5)


def naming_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens of the words that name a thing, what it was like, or where: what a question means the thing by."""
    return frozenset(token for value in _values() for token in _tokens(tokenizer, value))


def words_of_frames(bank: Bank, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of the words, [W], and which of them name each frame, bool [F, W]."""
    labels = torch.from_numpy(bank.labels).to(device)
    of_token: dict[int, Tensor] = {}
    for column, label in enumerate(LABELS):
        for number, value in enumerate(VALUES[label]):
            for token in _tokens(tokenizer, value):
                shown = labels[:, column] == number
                of_token[token] = of_token.get(token, torch.zeros_like(shown)) | shown
    return torch.tensor(list(of_token), device=device), torch.stack(list(of_token.values()), 1)


def _tokens(tokenizer: PreTrainedTokenizerBase, value: str) -> Sequence[int]:
    """Of a word in the middle of a sentence and at its beginning; of digits and letters, not of the space between."""
    space = tokenizer.encode(" ", add_special_tokens=False)
    both = (tokenizer.encode(text, add_special_tokens=False) for text in (value, f" {value}"))
    return [token for tokens in both for token in tokens if [token] != space]


def _values() -> list[str]:
    return [value for label in LABELS for value in VALUES[label] if value != "object"]


def _find_by_likeness(attention: CrossAttention) -> None:
    """Keys begin as queries do, so that a row finds first what is like it; and what it finds reaches it as it is, if faintly.

    Fewer key heads than query heads cannot be both.
    """
    if attention.heads.query == attention.heads.key_value:
        width = attention.heads.key_value_width
        attention.Wkv.weight[:width], attention.Wkv.bias[:width] = attention.Wq.weight, attention.Wq.bias
        attention.Wo.weight.copy_(BRANCH_SCALE * attention.Wkv.weight[width:].T)
