"""SigLIP encoders in another dtype than their weights are stored in: what recording costs on a CPU, against how far features move.

bfloat16: all of the encoder. int8: its linear layers, whose weights are int8 and whose inputs are quantized as they come (dynamic);
everything else stays float32. The text tower of an index encoder stays as it is: a question costs one text, a camera a picture a second.
"""

import warnings
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from afterview.model.base.errors import BackendUnavailable
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.index_encoder import IndexEncoder
from afterview.model.vision.no_index import NoIndex
from afterview.model.vision.no_tokens import NoTokens
from afterview.model.vision.tower import VisionEncoder

EncoderDtype = Literal["float32", "bfloat16", "int8"]
ENCODER_DTYPES: Final[tuple[EncoderDtype, ...]] = get_args(EncoderDtype)


def converted(module: nn.Module, dtype: EncoderDtype) -> Any:
    """The module in this dtype; the same object, changed in place. Raises BackendUnavailable where torch has no int8 for this machine."""
    if dtype == "bfloat16":
        return module.to(torch.bfloat16)
    if dtype == "int8":
        try:
            from torch.ao.quantization import quantize_dynamic  # late: deprecated, and other builds of torch lack it

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch says that it will move to another package
                return quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8, inplace=True)
        except (ImportError, AttributeError, RuntimeError) as error:
            raise BackendUnavailable(
                f"this build of torch has no int8 layers ({error}); use float32 or bfloat16"
            ) from None
    return module


def is_siglip(encoder: VisionEncoder | IndexEncoder) -> bool:
    """Whether an encoder can change its dtype: a clip encoder cannot, nor what stands for a missing one."""
    return isinstance(encoder, VisionEncoder | IndexEncoder) and not isinstance(
        encoder, ClipEncoder | NoIndex | NoTokens
    )


def convert(encoder: VisionEncoder | IndexEncoder, dtype: EncoderDtype) -> None:
    """Change an encoder's picture part in place."""
    if isinstance(encoder, IndexEncoder):
        encoder.model.vision_model = converted(encoder.model.vision_model, dtype)
    else:
        encoder.tower = converted(encoder.tower, dtype)
        encoder.returns = None if dtype == "float32" else torch.float32


def encode(encoder: VisionEncoder | IndexEncoder, frames: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Features of frames at the encoder's resolution: tokens [B, P, Dv], or embeddings [B, De]."""
    return encoder.encode_images(frames) if isinstance(encoder, IndexEncoder) else encoder.encode(frames)


def geometry_of(encoder: VisionEncoder | IndexEncoder) -> str:
    """What its speed depends on, in words: 'SigLIP 768x12 (3072), 224 pixels in patches of 16'."""
    tower = encoder.model.vision_model if isinstance(encoder, IndexEncoder) else encoder.tower
    config = tower.config
    head = " with head" if isinstance(encoder, IndexEncoder) else ""
    return (
        f"SigLIP {config.hidden_size}x{config.num_hidden_layers} ({config.intermediate_size}), {encoder.spec.resolution} pixels in patches "
        f"of {config.patch_size}{head}"
    )


def probe_pictures(side: int, count: int = 4) -> NDArray[np.uint8]:
    """Pictures on which dtypes are compared, [count, side, side, 3]: slopes of colour, edges, and noise. Always the same."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[0:side, 0:side] / max(1, side - 1)
    pictures = []
    for number in range(count):
        colours = random.uniform(0, 255, (3, 3))
        picture = colours[0] * rows[..., None] + colours[1] * columns[..., None] + colours[2] / 2
        first, size = random.integers(0, max(1, side // 2), 2), max(2, side // 3)
        picture[first[0] : first[0] + size, first[1] : first[1] + size] = random.uniform(0, 255, 3)
        picture += random.normal(0, 8 * number, picture.shape)
        pictures.append(np.clip(picture, 0, 255))
    return np.stack(pictures).astype(np.uint8)


def worst_cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The smallest cosine between the vectors of two arrays [..., D]."""
    a, b = (array.astype(np.float64) for array in (one, other))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(-1) / np.maximum(lengths, 1e-30)).min())
