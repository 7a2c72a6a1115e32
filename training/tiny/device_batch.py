"""A batch of stories on the device, with the features of its frames.

Legend: S stories, q questions per story, B = S * q, N frames, P tokens per frame, L tokens of the text after the video, W words that
name what frames show.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from afterview.training.tiny.lessons import KeepWeights
from afterview.training.tiny.stories import StoryBatch


@dataclass(frozen=True)
class DeviceBatch:
    """A StoryBatch on the device, with features [S, N, P, Dv] and the words that name what the frames show, bool [S, N, W].

    tokens_read: number of tokens per frame that MemAug reads, drawn at random; None: all. favoured [P + 1]: how much likelier each is
    drawn. openings: see NeedleBatch. clue_cells: of a frame, those where clues are. keep: how near a teacher it stays. draw: seed of that
    draw, for a batch that is the same whenever it is seen; None: another draw each time.
    """

    features: Tensor
    numbers: Tensor
    spans: Tensor
    visible: Tensor
    after: Tensor
    after_lengths: Tensor
    question: Tensor
    words: Tensor
    answers: Tensor
    answer_lengths: Tensor
    needles: Tensor
    kinds: Tensor
    denied: Tensor
    firsts: Tensor
    shown: Tensor | None = None
    tokens_read: int | None = None
    favoured: Tensor | None = None
    openings: Tensor | None = None
    clue_cells: Tensor | None = None
    keep: KeepWeights | None = None
    draw: int | None = None

    @property
    def each(self) -> int:
        """Questions per story."""
        return len(self.after) // len(self.numbers)

    @property
    def padding(self) -> Tensor:
        """Padding of each row's text after the video, [B]."""
        return self.after.shape[1] - self.after_lengths

    @property
    def asked(self) -> Tensor:
        """Which tokens after the video belong to the question, [B, L]."""
        return self._within(self.question)

    @property
    def joining(self) -> Tensor:
        """Which tokens after the video join MemAug's queries, [B, L]: all but those that stand beside the question."""
        real = torch.arange(self.after.shape[1], device=self.after.device) < self.after_lengths[:, None]
        return real & (self.asked | ~self._within(self.words))

    def _within(self, ranges_B2: Tensor) -> Tensor:
        places = torch.arange(self.after.shape[1], device=self.after.device)
        return (places >= ranges_B2[:, :1]) & (places < ranges_B2[:, 1:])

    @property
    def seeking(self) -> Tensor:
        """Which tokens after the video say what to find, [B, L]: the question's first sentence, where the batch knows it."""
        if self.openings is None:
            return self.asked
        places = torch.arange(self.after.shape[1], device=self.after.device)
        return self.asked & (places < self.question[:, :1] + self.openings[:, None])

    @property
    def led(self) -> Tensor:
        """To the proof of which questions something else leads, bool [B]."""
        return (self.firsts & ~self.needles).any(1)

    @property
    def named(self) -> Tensor:
        """Which words name what the proof of each question shows, bool [B, W]."""
        assert self.shown is not None, "the batch has the words of its frames"
        proofs_SqN = self.needles.unflatten(0, (len(self.shown), -1))
        return (proofs_SqN.float() @ self.shown.float()).flatten(0, 1) > 0


def to_device(
    batch: StoryBatch, features: Tensor, shown: Tensor | None = None, tokens_read: int | None = None
) -> DeviceBatch:
    """The batch on the device, with its frames' features from the table [F, P, Dv].

    shown: words that name what each frame shows, bool [F, W], if the objective needs them.
    """
    device = features.device
    moved = {
        field.name: torch.from_numpy(np.ascontiguousarray(getattr(batch, field.name))).to(device, non_blocking=True)
        for field in fields(StoryBatch)
    }
    rows = moved.pop("rows")
    named = None if shown is None else shown[rows]
    return DeviceBatch(features[rows], shown=named, tokens_read=tokens_read, keep=None, draw=None, **moved)
