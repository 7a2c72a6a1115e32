"""The vision encoder of VideoChat-Flash: clips of four frames, or single images, to 64 merged tokens.

A memory stores the merged tokens, before the projector: 16 with each frame, so that the rows of a clip, in order, are
its 64 tokens. The published code has no rule for frames that make no whole clip. Here:

    a memory       a clip that ends early is completed for the tower with its last frame, and merged to 16 tokens for each of its
                   frames. The memory so never holds tokens of a frame that was not seen
    a whole video  `whole_clips` repeats the last frame up to a multiple of four, as the published sampler does for short videos

Legend: B frames, n clips or images, S pixels per side, N patches, C vision width.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.memory.base.feature_spec import TokenSpec
from afterview.memory.plans.clips import ClipLayout
from afterview.model.base.errors import InputMismatch
from afterview.model.base.settings import FRAMES_PER_CLIP, TOKENS_PER_CLIP, TokenMergingConfig
from afterview.model.vision.token_merging import merge_tokens
from afterview.model.vision.tower import VisionEncoder
from afterview.model.vision.umt import UmtTower

CLIPS_AT_ONCE = 4  # clips or images that the tower handles at a time; bounds memory, does not change the result
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, per channel
PREPROCESSING = "square-bicubic-imagenet"
MERGED = TokenMergingConfig(frames_per_clip=FRAMES_PER_CLIP)

_LOGGER = logging.getLogger(__name__)


class ClipEncoder(VisionEncoder):
    """Maps frames to merged tokens. `encode` and `features` make the rows of a memory; `clips` and `images` make 64 tokens each."""

    tower: UmtTower

    def __init__(self, tower: UmtTower, *, name: str, weights: str) -> None:
        """name: for people. weights: hash of the tower's tensors as stored in its checkpoint."""
        self.tower, self.merging, self.naflex = tower, MERGED, False
        self.patch = tower.config.patch_size
        self.spec = TokenSpec(
            encoder=name,
            weights=weights,
            resolution=tower.config.image_size,
            tokens_per_frame=MERGED.tokens_per_frame,
            width=tower.config.hidden_size,
            pooling="merged",
            preprocessing=PREPROCESSING,
            frames_per_record=FRAMES_PER_CLIP,
            clip_marks=True,
        )

    def features(self, frames: NDArray[np.uint8]) -> Tensor:
        """Rows [B, 16, C] of consecutive frames, clip by clip; only the last clip may be short. Differentiable."""
        whole = len(frames) - len(frames) % FRAMES_PER_CLIP
        clips_n64C = self.clips(frames[:whole])
        rows = [clips_n64C.reshape(whole, MERGED.tokens_per_frame, self.spec.width)]
        if short := len(frames) - whole:
            tokens = self._merged(_completed(frames[whole:])[None], short * MERGED.tokens_per_frame)
            rows.append(tokens.reshape(short, MERGED.tokens_per_frame, self.spec.width))
        return torch.cat(rows)

    def clips(self, frames: NDArray[np.uint8]) -> Tensor:
        """Merged tokens [n, 64, C] of the clips in uint8 RGB frames [4 * n, S, S, 3]. Differentiable.

        Raises InputMismatch for frames that are no multiple of four.
        """
        if len(frames) % FRAMES_PER_CLIP:
            raise InputMismatch(
                f"{len(frames)} frames do not make whole clips of {FRAMES_PER_CLIP}; give a multiple of {FRAMES_PER_CLIP}, or repeat the "
                "last frame (model.vision.clip_encoder.whole_clips)"
            )
        self._check(frames)
        return self._merged(frames.reshape(-1, FRAMES_PER_CLIP, *frames.shape[1:]), TOKENS_PER_CLIP)

    def images(self, frames: NDArray[np.uint8]) -> Tensor:
        """Merged tokens [n, 64, C] of single images, uint8 RGB [n, S, S, 3]. Differentiable."""
        self._check(frames)
        return self._merged(frames[:, None], TOKENS_PER_CLIP)

    def patches(self, frames: NDArray[np.uint8]) -> Tensor:
        """The tower's output [B, N, C] for single images, not merged."""
        self._check(frames)
        return self._tower(frames[:, None])

    def run(self, pixels_B3SS: Tensor) -> Tensor:
        """The same for pixels that are already normalised and on the device."""
        return self.tower(pixels_B3SS[:, :, None])

    def _merged(self, clips_nTSS3: NDArray[np.uint8], target: int) -> Tensor:
        """Each clip through the tower, then merged to `target` tokens: [n, target, C]."""
        heads = self.tower.config.num_attention_heads
        parts = [
            merge_tokens(self._tower(clips_nTSS3[start : start + CLIPS_AT_ONCE]), target, heads=heads)
            for start in range(0, len(clips_nTSS3), CLIPS_AT_ONCE)
        ]
        like = next(self.tower.parameters())
        return torch.cat(parts) if parts else like.new_zeros(0, target, self.spec.width)

    def _tower(self, clips_nTSS3: NDArray[np.uint8]) -> Tensor:
        pixels = self.pixels(clips_nTSS3.reshape(-1, *clips_nTSS3.shape[2:]))
        return self.tower(pixels.unflatten(0, clips_nTSS3.shape[:2]).transpose(1, 2))

    def pixels(self, frames: NDArray[np.uint8]) -> Tensor:
        """uint8 [B, S, S, 3] to the tower's pixels [B, 3, S, S]: normalised as for ImageNet, in its dtype, on its device."""
        like = next(self.tower.parameters())
        raw = torch.from_numpy(np.array(frames)).to(like.device)  # copied: frames of PIL are read-only
        mean, std = (raw.new_tensor(values, dtype=torch.float32) for values in (MEAN, STD))
        return ((raw.float() / 255 - mean) / std).permute(0, 3, 1, 2).to(like.dtype)

    def _check(self, frames: NDArray[np.uint8]) -> None:
        side = self.spec.resolution
        if frames.ndim != 4 or frames.shape[1:] != (side, side, 3):
            raise InputMismatch(
                f"frames of shape {frames.shape} were given to a tower that takes [B, {side}, {side}, 3]"
            )


def see_clips(frames: NDArray[np.uint8], vision: ClipEncoder) -> tuple[Tensor, ClipLayout]:
    """Features [R, 16, C] of a whole video of any number of frames [B, S, S, 3], and their layout. Differentiable.

    The last frame is repeated (`whole_clips`), so R is a multiple of four.
    """
    rows = vision.features(whole_clips(frames))
    return rows, ClipLayout(len(rows), vision.spec.tokens_per_frame)


def whole_clips(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames [B, S, S, 3] of a whole video, with the last one repeated up to a multiple of four, which is logged.

    Raises InputMismatch for none.
    """
    if not len(frames):
        raise InputMismatch("a video without frames was given; give at least one")
    completed = _completed(frames)
    if repeated := len(completed) - len(frames):
        _LOGGER.info(
            "note: %d frames make no whole clips of %d; the last one is repeated %d times",
            len(frames), FRAMES_PER_CLIP, repeated,
        )  # fmt: skip
    return completed


def _completed(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([frames, frames[-1:].repeat(-len(frames) % FRAMES_PER_CLIP, axis=0)])
