"""The first stage: the vision tower and the index's image-text encoder learn to see the world.

The tower learns by reading: through one linear layer, which is discarded afterwards, every token of a frame must tell
what the frame shows and where. The index learns by SigLIP's sigmoid loss (Zhai et al., arXiv 2303.15343) between frames
and questions about them. Several texts may match one frame, and several frames one text.

Legend: B frames, N texts, P tokens per frame, S pixels per side, Dv width.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipModel

from afterview.model.vision.index_encoder import IndexEncoder, padded_ids
from afterview.model.vision.tower import GRID, VisionEncoder, pool
from afterview.training.base.seeds import seeded
from afterview.training.core.trainer import StepOutput
from afterview.training.tiny.bank import CODE, LABELS, NO_LABEL, VALUES, Bank
from afterview.training.world.facts import KINDS
from afterview.training.world.history import Reference
from afterview.training.world.phrasing import word, wordings
from afterview.training.world.rewording import reworded
from afterview.training.world.script import WorldConfig
from afterview.training.world.vocabulary import SCENES

READ_TOKENS: Final = 12  # tokens of a frame that are read per step, drawn anew each time
ANYTHING: Final = 99  # label of a reference that every value matches
_ANY_EVENT: Final = 98  # kind of a reference that every thing matches, but not an empty scene
_NEVER: Final = 97  # label that nothing matches
_PAIR_KINDS: Final = ("first", "gap")
_NEIGHBOUR_KINDS: Final = ("before", "after", "order")  # the answer may be any event
_PLACE: Final = LABELS.index("place")
_NAMES: Final = sum(len(values) + 1 for values in VALUES.values())
_BRIGHTNESS, _NOISE = 0.12, 0.02  # augmentation: change of brightness, standard deviation of noise in [-1, 1]
_MIRRORED: Final = 0.5  # share of frames without digits or letters that are mirrored
# Frames of a batch that share their noise: separate noise for each took a sixth of a step on a CPU.
_SHARE: Final = 8


@dataclass(frozen=True)
class Texts:
    """Texts for the index. ids int64 [N, L]; wanted int16 [N, 2, len(LABELS)]: one or two references, ANYTHING for free labels."""

    ids: NDArray[np.int64]
    wanted: NDArray[np.int16]


@dataclass(frozen=True)
class SightBatch:
    """pixels uint8 [B, S, S, 3]; labels int64 [B, len(LABELS)]; centres [B, 2]; ids [N, L]; wanted [N, 2, len(LABELS)]."""

    pixels: Tensor
    labels: Tensor
    centres: Tensor
    ids: Tensor
    wanted: Tensor


class SightObjective(nn.Module):
    """Both encoders, and the reader that trains the tower."""

    def __init__(self, vision: VisionEncoder, index: IndexEncoder, *, naming: float = 0.0) -> None:
        """naming: weight of the loss that makes the index's embeddings of frames and texts tell what is shown or asked for."""
        super().__init__()
        self.tower, self.index = vision.tower, index.model
        self._vision, self._naming = vision, naming
        classes = sum(len(values) + (label != "scene") for label, values in VALUES.items())
        self.reader = nn.Linear(vision.spec.width, classes + 2)
        self.names = nn.Linear(index.model.config.vision_config.hidden_size, _NAMES)  # of frames
        self.asked = nn.Linear(index.model.config.text_config.hidden_size, _NAMES)  # of texts

    def forward(self, batch: SightBatch) -> StepOutput:
        """Losses of both encoders, and accuracies of what the tower's tokens tell."""
        images = augmented(batch.pixels)
        reading, figures = self._read(images, batch)
        frames = self.index.vision_model(images).pooler_output
        texts = self.index.text_model(batch.ids).pooler_output
        matching, found = match(self.index, frames, texts, batch)
        figures |= {"reading": reading, "matching": matching, "index_recall": found}
        loss = reading + matching
        if self._naming:
            # One linear layer per side, discarded afterwards: both sides then hold the same attributes, and pairs only need to align them.
            naming = attribute_loss(self.names(frames), batch.labels) + attribute_loss(
                self.asked(texts), batch.wanted[:, 0]
            )
            figures["naming"], loss = naming, loss + self._naming * naming
        return StepOutput(loss, figures)

    def _read(self, images: Tensor, batch: SightBatch) -> tuple[Tensor, dict[str, Tensor]]:
        tokens_BPV = pool(self._vision.run(images), GRID)
        drawn = torch.randint(tokens_BPV.shape[1], (READ_TOKENS,), device=images.device)
        read = self.reader(tokens_BPV[:, drawn])
        loss, start = tokens_BPV.float().pow(2).mean() * 1e-3, 0  # keeps features within float16's range
        figures: dict[str, Tensor] = {}
        for column, label in enumerate(LABELS):
            none = label != "scene"  # every other label has a class "none"
            size = len(VALUES[label]) + none
            logits = read[..., start : start + size].float()
            start += size
            truth = batch.labels[:, column] % size if none else batch.labels[:, column]  # -1 becomes the last class
            spread = truth[:, None].expand(-1, READ_TOKENS)
            loss = loss + functional.cross_entropy(logits.flatten(0, 1), spread.flatten())
            known = spread != size - 1 if none else torch.ones_like(spread, dtype=torch.bool)
            figures[f"{label}/right"] = ((logits.argmax(-1) == spread) & known).sum()
            figures[f"{label}/asked"] = known.sum()
        seen = ~batch.centres[:, :1].isnan()
        off = (read[..., start:].float() - torch.nan_to_num(batch.centres)[:, None]) * seen[:, None]
        return loss + 20 * off.pow(2).mean(), figures


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the attributes read from embeddings, [N, _NAMES], against labels [N, len(LABELS)]. Other values count as "none"."""
    loss, start = logits.new_zeros(()), 0
    for column, values in enumerate(VALUES.values()):
        size = len(values) + 1
        truth = labels[:, column]
        truth = torch.where((truth >= 0) & (truth < len(values)), truth, len(values))
        loss = loss + functional.cross_entropy(logits[:, start : start + size].float(), truth)
        start += size
    return loss


def match(index: SiglipModel, frames_BDe: Tensor, texts_NDe: Tensor, batch: SightBatch) -> tuple[Tensor, Tensor]:
    """SigLIP's loss between embeddings of frames and texts, and the share of texts whose best frame matches."""
    frames = functional.normalize(frames_BDe.float(), dim=-1)
    texts = functional.normalize(texts_NDe.float(), dim=-1)
    wanted = batch.wanted[:, :, None]
    same = (wanted == batch.labels) | (wanted == ANYTHING) | ((wanted == _ANY_EVENT) & (batch.labels != NO_LABEL))
    match_NB = same.all(-1).any(1)
    with torch.autocast(frames.device.type, enabled=False):
        logits = texts @ frames.T * index.logit_scale.float().exp() + index.logit_bias.float()
    sign = match_NB.float() * 2 - 1
    loss = -functional.logsigmoid(sign * logits).sum() / len(frames)
    best = logits.argmax(1, keepdim=True)
    asked = match_NB.any(1)
    found = (match_NB.gather(1, best)[:, 0] & asked).sum() / asked.sum().clamp(min=1)
    return loss, found


def augmented(pixels_BSS3: Tensor) -> Tensor:
    """uint8 to [-1, 1], [B, 3, S, S], with random brightness and noise."""
    images = (pixels_BSS3.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    bright = 1 + (torch.rand(len(images), 1, 1, 1, device=images.device) * 2 - 1) * _BRIGHTNESS
    noise = torch.randn(-(-len(images) // _SHARE), *images.shape[1:], device=images.device) * _NOISE
    return images * bright + noise.repeat(_SHARE, 1, 1, 1)[: len(images)]


class SightBatches:
    """Draws batches from a bank whose pixels are on the device. A batch depends only on the seed and its number.

    Half of the frames that allow it are mirrored. Shapes and scenes look the same in a mirror, so each clip counts as
    two.
    """

    def __init__(
        self,
        bank: Bank,
        texts: Texts,
        *,
        frames: int,
        asked: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._pixels = torch.from_numpy(bank.pixels).to(device)
        self._labels = torch.from_numpy(bank.labels.astype(np.int64)).to(device)
        self._centres = torch.from_numpy(bank.centres).to(device)
        self._ids = torch.from_numpy(texts.ids).to(device)
        self._wanted = torch.from_numpy(texts.wanted.astype(np.int64)).to(device)
        self._shown = np.flatnonzero(bank.labels[:, 0] != NO_LABEL)
        self._empty = np.flatnonzero(bank.labels[:, 0] == NO_LABEL)
        self._frames, self._asked, self._seed, self._device = frames, asked, seed, device
        self._can_be_mirrored = np.isin(bank.labels[:, 0], (NO_LABEL, CODE["kind"]["object"]))
        self._place_in_mirror = torch.tensor(_places_in_mirror(), device=device)

    def __call__(self, number: int) -> SightBatch:
        """Batch `number`. Two thirds of its frames show a thing."""
        rng = np.random.default_rng([self._seed, number])
        shown = rng.choice(self._shown, self._frames * 2 // 3)
        rows = np.concatenate([shown, rng.choice(self._empty, self._frames - len(shown))])
        asked = rng.integers(0, len(self._ids), self._asked)
        mirrored = self._can_be_mirrored[rows] & (rng.random(len(rows)) < _MIRRORED)
        at, about, turned = (torch.from_numpy(numbers).to(self._device) for numbers in (rows, asked, mirrored))
        pixels, labels, centres = self._pixels[at], self._labels[at], self._centres[at]
        pixels[turned] = pixels[turned].flip(2)
        centres[turned, 0] = 1 - centres[turned, 0]
        labels[turned, _PLACE] = self._place_in_mirror[labels[turned, _PLACE]]
        return SightBatch(pixels, labels, centres, self._ids[about], self._wanted[about])


def _places_in_mirror() -> list[int]:
    """Code of each place's mirror image. The last entry, for NO_LABEL, is itself."""
    other = {"left": "right", "right": "left"}
    names = (" ".join(other.get(part, part) for part in place.split()) for place in VALUES["place"])
    return [*(CODE["place"][name] for name in names), NO_LABEL]


def make_texts(index: IndexEncoder, count: int, seed: int, reword: float = 0.0) -> Texts:
    """Questions in trained wordings and plain descriptions, each with what a frame must show to match."""
    rng = seeded(f"index texts 1, seed {seed}")
    ids, wanted = [], []
    length = index.model.config.text_config.max_position_embeddings
    assert index.tokenizer is not None, "the small model has a tokenizer"
    for _ in range(count):
        text, references = draw_text(rng)
        text = reworded(text, rng, reword) if reword else text
        ids.append(padded_ids(index.tokenizer, text, length))
        wanted.append((references * 2)[:2])
    return Texts(np.array(ids, np.int64), np.array(wanted, np.int16))


def draw_text(rng: Random) -> tuple[str, list[list[int]]]:
    """A text, and the labels of the one or two references that it matches."""
    kind = rng.choice([*KINDS, "caption", "caption"])
    one, two, three = _reference(rng, kind), _reference(rng, kind), _reference(rng, kind)
    scene = rng.choice(SCENES)
    if kind == "caption":
        chosen = rng.choice((one, Reference(kind="object", scene=scene)))
        text = rng.choice((chosen.noun, chosen.a, f"{scene} scene")) if chosen is one else f"{scene}"
        labels = _labels(one) if chosen is one and not text.endswith("scene") else _scene_labels(scene)
        return text, [labels]
    slots = {"the": one.the, "a": one.a, "qualifier": one.qualifier, "one": one.the, "two": two.the, "three": three.the}
    text = word(kind, rng.choice(wordings(kind, held_out=False)), {**slots, "scene": scene})
    if kind == "scene seen":
        return text, [_scene_labels(scene)]
    if kind in ("now", "scene now", "scene before"):
        return text, [[_NEVER] * len(LABELS)]  # asks about a time, not about a picture: nothing matches
    if kind in _NEIGHBOUR_KINDS:
        return text, [[_ANY_EVENT if label == "kind" else ANYTHING for label in LABELS]]
    return text, [_labels(one), _labels(two)] if kind in _PAIR_KINDS else [_labels(one)]


def _reference(rng: Random, kind: str) -> Reference:
    """A reference as questions of this kind name things."""
    scene = rng.choice(SCENES) if rng.random() < 0.15 else None
    if kind in ("digit", "word"):
        return Reference(kind="digit" if kind == "digit" else "word", scene=scene)
    named = rng.random()
    if kind not in ("colour", "shape", "size", "where", "motion", "scene") and named < 0.2:
        card = rng.choice(("digit", "word")) if named < 0.1 else "digit"
        texts = [text for text in VALUES["text"] if text.isdigit() == (card == "digit")]
        return Reference(kind="digit" if card == "digit" else "word", text=rng.choice(texts))
    colour, shape = rng.choice(WorldConfig().colour_shape_pairs())
    size = rng.choice(VALUES["size"]) if rng.random() < 0.25 else None
    if kind == "colour":
        return Reference(shape=shape, size=size, scene=scene)
    if kind == "shape":
        return Reference(colour=colour, size=size, scene=scene)
    return Reference(colour=colour, shape=shape, size=size if kind == "caption" else None, scene=scene)


def _labels(reference: Reference) -> list[int]:
    named = {label: getattr(reference, label) for label in LABELS}
    return [ANYTHING if value is None else CODE[label][value] for label, value in named.items()]


def _scene_labels(scene: str) -> list[int]:
    return [CODE["scene"][scene] if label == "scene" else ANYTHING for label in LABELS]
