"""How likely a model's answer begins with a text. Without visual dropout.

Legend: L tokens of the input, D width.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.moments import OPTION, option_id
from afterview.model.language.prompt import require_tokenizer
from afterview.model.video_language import VideoInputs

_AROUND = " \n().:*"  # what may stand around a letter


@torch.inference_mode()
def log_likelihood(model: AfterviewModel, inputs: VideoInputs, ids: Sequence[int]) -> tuple[float, bool]:
    """Log-likelihood of these tokens as the beginning of the answer, and whether a greedy answer begins so. ids: at least one."""
    language = model.video_language.language
    told = language.embed(np.array(ids[:-1], dtype=np.int64))
    hidden = language(torch.cat([inputs.inputs_embeds, told.to(inputs.inputs_embeds.dtype)])[None])
    logs = language.logits(hidden[0, -len(ids) :]).double().log_softmax(-1)
    wanted = torch.tensor(ids, device=logs.device)
    return float(logs.gather(1, wanted[:, None]).sum()), bool((logs.argmax(-1) == wanted).all())


def tokens_said(model: AfterviewModel, answer: str, options: Mapping[str, str]) -> list[int]:
    """The tokens with which this model gives an answer. One that points to options (model.language.moments) gives a letter by the words of
    the option, to their end: a part of another one's words is no answer. options: by letter; words in several lines are said in one.
    """
    tokenizer = require_tokenizer(model.tokenizer)
    option = options.get(answer.strip(_AROUND)) if option_id(tokenizer) is not None else None
    if option is None:
        ids: list[int] = tokenizer.encode(answer, add_special_tokens=False)
        return ids
    return [*tokenizer.encode(f"{OPTION}{' '.join(option.split())}", add_special_tokens=False), tokenizer.eos_token_id]
