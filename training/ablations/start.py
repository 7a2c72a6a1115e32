"""What all rows start from: the features of a bank, and the weights after "sentences" (training.tiny.sentences).

The vision tower and the index encoder are those of the shipped tiny model, so every row can be asked about the same memories. The
weights after "sentences" are committed beside the configuration; MemAug itself starts from the seed of each run.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from afterview.memory.base.durable import replacing
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.video_language import VideoLanguageModel
from afterview.training.ablations.plan import Ablations
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.fingerprint import files_fingerprint, values_fingerprint
from afterview.training.tiny.bank import PIXELS, Bank, index_bank, plan_bank, shape_of
from afterview.training.tiny.make import encode_all, initial_model, kept_tokenizer, learn_to_speak, rendered_bank
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.stage import StageContext
from afterview.training.tiny.words import train_tokenizer

_LOGGER = logging.getLogger(__name__)

FEATURES: Final = "features.safetensors"
START: Final = "start.safetensors"
_PARTS: Final = ("projector", "language")  # of the model, in the file of the start
_CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class Start:
    """shipped: the encoders' model, with the tokenizer of the weights. bank: labels of its frames, without pixels. weights: after
    "sentences". fingerprint: of them.
    """

    shipped: AfterviewModel
    bank: Bank
    features: Tensor  # float16 [F, P, Dv]
    weights: dict[str, Tensor]
    fingerprint: str


def prepare(ablations: Ablations, directory: Path, *, progress: ShowProgress = unseen) -> Start:
    """Load what all rows share, and make in `directory` what is missing. Raises TrainingError for damaged files, naming the remedy."""
    directory.mkdir(parents=True, exist_ok=True)
    recipe = ablations.recipe()
    with progress("loading model tiny"):
        shipped = load_pretrained("tiny", device=_CPU, dtype=torch.float32)
    place = kept_tokenizer(directory, train_tokenizer)  # the shipped one has later lessons' pointers, too
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
    shipped = replace(shipped, tokenizer=tokenizer, config={**shipped.config, "vocab_size": len(tokenizer)})
    features = _features(recipe, shipped, directory, progress)
    bank = _labels(recipe)
    path = ablations.start
    if not path.exists():
        path = directory / START
        if not path.exists():
            _LOGGER.info("%s is missing: the weights after 'sentences' are made in %s", ablations.start, directory)
            _make_start(recipe, bank, features, directory, progress)
    return Start(shipped, bank, features, _read(path), files_fingerprint([path], path.parent))


def new_network(start: Start, recipe: Recipe, directory: Path) -> AfterviewModel:
    """The shipped model with a network of the recipe's seed and shape instead of its own; projector and decoder have the start's weights.

    The preset is the shipped one, with the recipe's forgetting, recall and blocks.
    """
    fresh = initial_model(recipe, directory, _CPU)
    network = fresh.video_language
    missing, unknown = network.load_state_dict(start.weights, strict=False)
    if unknown or any(name.startswith(_PARTS) for name in missing):
        raise TrainingError(
            "the weights of the start are of another architecture; delete them, and they are made again"
        )
    preset = start.shipped.preset.model_copy(
        update={
            "forgetting": recipe.forgetting, "recall": recipe.recall, "evidence_blocks": recipe.evidence_blocks,
            "memaug_depth": recipe.memaug_depth, "max_new_tokens": recipe.max_new_tokens,
        }
    )  # fmt: skip
    return replace(start.shipped, video_language=network, preset=preset)


def _features(recipe: Recipe, shipped: AfterviewModel, directory: Path, progress: ShowProgress) -> Tensor:
    path = directory / FEATURES
    made_of = values_fingerprint({"bank": recipe.bank.model_dump(mode="json"), "tower": shipped.vision.spec.weights})
    if path.exists():
        try:
            with safe_open(path, "pt") as file:
                same = (file.metadata() or {}).get("made_of") == made_of
            if same:
                return load_file(path)["features"]
        except (OSError, SafetensorError, KeyError) as error:
            raise TrainingError(f"{path}: is damaged; delete it, and it is made again") from error
        _LOGGER.info("%s: is of another bank or tower, and is made again", path)
        for stale in (path, directory / PIXELS, directory / "bank.done"):
            stale.unlink(missing_ok=True)
    with progress("bank", "scenes") as report:
        bank = rendered_bank(recipe.bank, directory, report)
    with progress("features", "frames") as report:
        features = encode_all(shipped.vision, torch.from_numpy(bank.pixels), _CPU, report)
    with replacing(path) as partial:
        save_file({"features": features}, partial, metadata={"made_of": made_of})
    (directory / PIXELS).unlink()
    return features


def _labels(recipe: Recipe) -> Bank:
    """What the frames of the bank show."""
    jobs = plan_bank(recipe.bank)
    return index_bank(jobs, np.zeros((shape_of(jobs, recipe.bank)[0], 1), np.uint8))


def _make_start(recipe: Recipe, bank: Bank, features: Tensor, directory: Path, progress: ShowProgress) -> None:
    model = initial_model(recipe, directory, _CPU)
    context = StageContext(directory, recipe.seed, _CPU, float("inf"), progress)
    learn_to_speak(recipe, model, bank, features, context)
    save_start(model.video_language, directory / START)


def save_start(network: VideoLanguageModel, path: Path) -> None:
    """Keep projector and decoder, in float16."""
    state = {name: value.half().contiguous() for name, value in network.state_dict().items() if name.startswith(_PARTS)}
    with replacing(path) as partial:
        save_file(state, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # safetensors creates files that only their owner can read


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: is damaged; restore or delete it, and it is made again") from error
