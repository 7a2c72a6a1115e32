"""One training sample as the data path delivers it, and as the model sees it.

A video comes as cached features, or as frames if the vision tower is trained. Pictures always come as pixels.
Everything with gradients is computed here, inside the objective's forward pass.

Legend: T frames, S pixels per side, P tokens per frame, Dv vision width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.batch import Sample
from afterview.model.language.prompt import IGNORED_LABEL, Prompt
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.merged_pictures import MergedPictures, see_merged
from afterview.model.vision.pictures import see_pictures, several_pictures
from afterview.model.vision.tiles import PUBLISHED, Tiling
from afterview.model.vision.tower import VisionEncoder
from afterview.training.base.errors import DataError
from afterview.training.data.report import Happened, ItemProblem

FRAMES_AT_ONCE: Final = 32  # per batch of the tower; bounds memory, changes results only by rounding


@dataclass(frozen=True)
class Example:
    """One sample: its conversation, and one of `features`, `frames` and `pictures`; none of them for text."""

    name: str  # for messages
    prompt: Prompt
    labels: NDArray[np.int64]  # [n + m]
    seed: int  # of random spatial forgetting
    layout: VideoLayout | ClipLayout | None = None  # of a video
    features: Tensor | None = None  # [T, P, Dv]
    frames: Tensor | None = None  # uint8 [T, S, S, 3]
    pictures: tuple[NDArray[np.uint8], ...] = ()  # uint8 [H, W, 3]
    # Under a rule that looks at frames: their vectors and the question's -> the layout, instead of `layout`. The sizes are the same.
    choose: Callable[[NDArray[np.floating], NDArray[np.floating] | None], VideoLayout] | None = None
    file: str = ""  # annotations that it comes from
    item: int = -1  # its number there

    def problem(self, why: str, happened: Happened) -> ItemProblem:
        """What became of it while training."""
        return ItemProblem(self.file, self.item, why, happened)

    @classmethod
    def empty(cls) -> "Example":
        """A text without supervised tokens, in place of examples that cannot be used: its loss and its gradients are zero."""
        ids = np.zeros(1, dtype=np.int64)
        return cls("nothing", Prompt(ids, ids), np.full(2, IGNORED_LABEL, dtype=np.int64), 0)


def perceive(
    example: Example,
    model: VideoLanguageModel,
    vision: VisionEncoder,
    forgetting: ForgettingConfig,
    tiling: Tiling = PUBLISHED,
) -> Sample:
    """The sample as the model takes it. Differentiable in the tower and the projector."""
    if example.layout is not None:
        features = example.features if example.frames is None else see(vision, example.frames.numpy())
        assert features is not None, "a video has features or frames"
        chosen = example.layout
        if example.choose is not None:
            chosen = _choose(example.choose, features, example, model, forgetting)
        return Sample(features, chosen, example.prompt, example.labels)
    if isinstance(vision, ClipEncoder):
        return _merged(example, model, vision, tiling)
    projector, side = model.projector, vision.spec.resolution
    if not example.pictures:  # a blank picture adds no token to the text but keeps every parameter in the graph
        tokens, layout = several_pictures([np.zeros((side, side, 3), np.uint8)], vision, projector, forgetting)
        return Sample(tokens, layout, example.prompt, example.labels, text_only=True)
    tokens, layout = see_pictures(example.pictures, vision, projector, forgetting, tiling, seed=example.seed)
    return Sample(tokens, layout, example.prompt, example.labels)


def _merged(example: Example, model: VideoLanguageModel, vision: ClipEncoder, tiling: Tiling) -> Sample:
    """Pictures or text for a VideoChat-Flash."""
    if example.pictures:
        return Sample(*see_merged(example.pictures, vision, model.projector, tiling), example.prompt, example.labels)
    side = vision.spec.resolution
    tokens = model.projector(vision.images(np.zeros((1, side, side, 3), np.uint8)))[0]
    return Sample(tokens, MergedPictures((len(tokens),)), example.prompt, example.labels, text_only=True)


def _choose(
    choose: Callable[[NDArray[np.floating], NDArray[np.floating] | None], VideoLayout],
    features: Tensor,
    example: Example,
    model: VideoLanguageModel,
    forgetting: ForgettingConfig,
) -> VideoLayout:
    """The layout under a rule that looks at frames, with the present weights. In asking, stream.ask.context does the same."""
    features = features.detach()
    if forgetting.temporal == "keyframe":
        return choose(features.float().mean(1).double().cpu().numpy(), None)
    return choose(model.frame_vectors(features), model.question_vector(example.prompt))


def too_long(name: str, length: int, max_length: int) -> str:
    """Why a sample of `length` tokens cannot be used."""
    return f"{name}: {length} tokens, but max_length is {max_length}"


def see(vision: VisionEncoder, frames: NDArray[np.uint8]) -> Tensor:
    """Features [T, P, Dv] of frames [T, S, S, 3], with gradients if the tower is trained."""
    size = FRAMES_AT_ONCE - FRAMES_AT_ONCE % vision.spec.frames_per_record
    return torch.cat([vision.features(frames[start : start + size]) for start in range(0, len(frames), size)])


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as uint8 RGB [H, W, 3]. Raises DataError if it cannot be read as a picture."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "damaged, or of a format that is not known"
        raise DataError(f"{path}: cannot be read as a picture ({why})") from None
