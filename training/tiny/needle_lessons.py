"""Further lessons of the built-in model: clues in pictures, which lead to other pictures; lengths; options; looks; digits. Encoders stay.

`afterview train configs/training/tiny-needles.yaml --out DIR`, then tiny-lengths.yaml, -options, -looks and -digits, on the CPU.
Memories, their specs and other files of the model stay valid, because tower and index do not change. Each step has one batch of the
stories that the model already knows, in which it stays near what it was (training.tiny.keeping), and one batch of needles. Resumable.

DIR/bank/   features of frames and pictures      DIR/projector.safetensors   which has learnt to read clues (`clues`)
DIR/study/  training                             DIR/model/                  a mean of what was learnt and the beginning
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from afterview.configs import Schema
from afterview.memory.base.durable import replacing
from afterview.memory.plans.positions import Policy
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.language.looks import LookToken
from afterview.model.language.moments import Pointer, pointer_ids
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.tower import GRID
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.parts import parts_of
from afterview.training.core.run_configuration import keep_configuration
from afterview.training.core.trainer import Trainer
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.tiny.bank import VALUES, BankConfig, plan_bank
from afterview.training.tiny.clue_cells import CELLS, ClueConfig, learn_clues
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.keeping import KeepingObjective
from afterview.training.tiny.lessons import KeepWeights, LessonPlan
from afterview.training.tiny.lettered import LetteredWords, make_mixed_batch
from afterview.training.tiny.naming import tokens_of, words_of_frames
from afterview.training.tiny.needle_bank import Gallery, PicturesConfig, encode
from afterview.training.tiny.needle_stories import LESSON_KINDS, Albums, NeedlePlan, joined_fields, make_needle_batch
from afterview.training.tiny.pointing import with_pointers
from afterview.training.tiny.stage import StageContext, attention_to_train_with
from afterview.training.tiny.stories import Shelf, shelf_of
from afterview.training.tiny.study import StudyObjective

_LOGGER = logging.getLogger(__name__)

BANK: Final = "bank"
PROJECTOR: Final = "projector.safetensors"
_FAVOUR: Final = 24.0  # a token where a clue is is drawn this much likelier


class NeedleLesson(Schema):
    """One lesson. It ends with step `until`."""

    until: int = Field(ge=1)
    lettered: float = Field(default=0.4, ge=0, le=1)  # share of the stories' questions that get options
    # So many different batches of stories, again and again; null: every one is new. What is hard is learnt sooner from few questions that
    # are seen often (Charton and Kempe, arXiv 2410.07041).
    batches: int | None = Field(default=None, ge=1)
    keep: KeepWeights = KeepWeights()  # staying near the model of `keeps`, in the stories' questions
    stories: LessonPlan
    needles: NeedlePlan | None  # null: both batches of a step are of stories

    @model_validator(mode="after")
    def _known(self) -> "NeedleLesson":
        if unknown := sorted(set(self.keep.besides) - set(LESSON_KINDS)):
            raise ValueError(
                f"keep.besides: no question is of kind '{unknown[0]}'; there are: {', '.join(LESSON_KINDS)}"
            )
        return self


class NeedleStage(Schema):
    """Lessons in order."""

    trainer: TrainerConfig
    lessons: tuple[NeedleLesson, ...] = Field(min_length=1)
    evidence_weight: float = 0.6
    telling_weight: float = 0.3
    clue_weight: float = 0.0  # of naming what a clue tells, right after the block that reads it
    still_blocks: int = Field(default=0, ge=0)  # so many first blocks of MemAug stay as they are
    # The words' embeddings stay as they are. If MemAug and projector do, too, a step takes two thirds of the time.
    still_words: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "NeedleStage":
        if self.trainer.steps is None or self.lessons[-1].until < self.trainer.steps:
            raise ValueError("give trainer.steps, and lessons until the last of them")
        if self.trainer.accumulate != 2:
            raise ValueError("trainer.accumulate must be 2: each step has a batch of stories and one of needles")
        return self

    def at(self, step: int) -> NeedleLesson:
        """The lesson of a step, counted from 0."""
        return next(lesson for lesson in self.lessons if step < lesson.until)


class NeedleRecipe(Schema):
    """Everything that determines the weights, beside those that the lessons begin with."""

    name: str = "tiny-needles"
    seed: int = 0
    starts_from: str = "tiny"  # preset, or a directory of a model
    keeps: str = ""  # preset or directory of the model that `keep` is about; empty: the one that the lessons begin with
    share_kept: float = Field(default=0.0, ge=0, lt=1)  # of that model's weights in the mean that is the result
    positions: Policy = "interpolate"  # of the result's preset
    memory_queries: Literal["prompt", "question"] | None = None  # of the result's preset; null: as the lessons begin
    pointers: tuple[Pointer | LookToken, ...] = ()  # tokens that the model gets, if it lacks them
    needle_bank: BankConfig
    pictures: PicturesConfig
    clues: ClueConfig | None = ClueConfig()  # null: the projector reads them already
    study: NeedleStage

    @property
    def keeps_what_comes_before_the_decoder(self) -> bool:
        """Whether nothing that comes before the decoder learns, or differs from the teacher's."""
        learns = {name for name, rate in self.study.trainer.learning_rates.items() if rate} - {"language"}
        return self.study.still_words and not learns and self.clues is None and self.teacher == self.starts_from

    @property
    def teacher(self) -> str:
        """Preset or directory of the model whose knowledge is kept."""
        return self.keeps or self.starts_from


@dataclass(frozen=True)
class _School:
    """What both stages draw their batches from."""

    recipe: NeedleRecipe
    model: AfterviewModel
    shelf: Shelf
    albums: Albums
    words: LetteredWords
    features: Tensor
    names: Tensor
    shown: Tensor

    def batches(self, stage: NeedleStage) -> Callable[[int], DeviceBatch]:
        """Even numbers: stories; odd ones: needles, in lessons that have any."""
        forgetting, seed = self.model.preset.forgetting, self.recipe.seed
        favoured, clue_cells = _favoured(), torch.tensor(CELLS)

        def batch(number: int) -> DeviceBatch:
            step = number // 2
            lesson = stage.at(step)
            if number % 2 == 0 or lesson.needles is None:
                place = step if lesson.needles is not None else number
                turn = place if lesson.batches is None else place % lesson.batches
                drawn = make_mixed_batch(
                    lesson.stories, self.shelf, self.words, forgetting, share=lesson.lettered, seed=seed, number=turn
                )
                ready = to_device(drawn, self.features, self.shown, lesson.stories.tokens_read)
                return replace(ready, keep=lesson.keep, draw=None if lesson.batches is None else turn)
            needles = make_needle_batch(
                lesson.needles, self.albums, self.shelf, self.words, forgetting, seed=seed, number=step
            )
            ready = to_device(joined_fields(needles), self.features, self.shown, lesson.needles.tokens_read)
            openings = torch.from_numpy(needles.openings)
            return replace(ready, favoured=favoured, openings=openings, clue_cells=clue_cells)

        return batch


def teach_needles(
    recipe: NeedleRecipe, directory: Path, *, deadline: float = math.inf, progress: ShowProgress = unseen
) -> bool:
    """Run all stages that are not done yet. Returns whether the model is finished; if the deadline came first, call it again."""
    model = _pupil(recipe, recipe.starts_from)  # first: without it nothing is begun
    keep_configuration(recipe, directory)
    assert model.tokenizer is not None, "the small model has one"
    with progress("features", "scenes") as report:
        features, bank, gallery = encode(recipe.needle_bank, recipe.pictures, model.vision, directory / BANK, report)
    if recipe.clues is not None:
        _read_clues(recipe.clues, recipe.seed, model.video_language, features, gallery, directory / PROJECTOR, progress)
    names, shown = words_of_frames(bank, model.tokenizer, features.device)
    school = _School(
        recipe, model, shelf_of(plan_bank(recipe.needle_bank)), Albums.of(gallery),
        LetteredWords(model.tokenizer, apart=model.preset.memory_queries == "question"), features, names, shown,
    )  # fmt: skip
    context = StageContext(directory, recipe.seed, features.device, deadline, progress)
    if not _study(school, replace(context, directory=directory / "study")):
        return False
    with progress("model"):
        if recipe.share_kept:
            kept = _pupil(recipe, recipe.teacher)
            mix_weights(model.video_language, kept.video_language, recipe.share_kept)
        _save(model, recipe, directory / "model")
    return True


def mix_weights(model: nn.Module, kept: nn.Module, share: float) -> None:
    """Move all weights of `model` this share of the way to those of `kept`, a model of the same shape, in place.

    The mean of a model before and after further training (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models") keeps
    more of what only the first knows than it loses of what the second has learnt.
    """
    before = kept.state_dict()
    with torch.no_grad():
        for name, weights in model.state_dict().items():
            weights.lerp_(before[name], share)


def _pupil(recipe: NeedleRecipe, name: str) -> AfterviewModel:
    model = with_pointers(load_pretrained(name, device="cpu", dtype="float32"), recipe.pointers)
    changes = {"positions": recipe.positions, "memory_queries": recipe.memory_queries or model.preset.memory_queries}
    return replace(model, preset=model.preset.model_copy(update=changes))


def _read_clues(
    config: ClueConfig,
    seed: int,
    model: VideoLanguageModel,
    features: Tensor,
    gallery: Gallery,
    path: Path,
    progress: ShowProgress,
) -> None:
    """Teach the projector to read clues, or load what it learnt."""
    projector = model.projector
    if not path.exists():
        with progress("clues", "steps") as report:
            learn_clues(projector, model.token_embeddings, features, gallery, config, seed=seed, report=report)
        with replacing(path) as partial:
            save_file(projector.state_dict(), partial)
    projector.load_state_dict(load_file(path))


def _study(school: _School, context: StageContext) -> bool:
    stage, model = school.recipe.study, school.model
    study = _objective(school, model)
    objective: nn.Module = study
    if any(lesson.keep.any for lesson in stage.lessons):
        first = _pupil(school.recipe, school.recipe.teacher)
        shared = school.recipe.keeps_what_comes_before_the_decoder
        objective = KeepingObjective(study, _objective(school, first), shared=shared)
    trainer = Trainer(
        objective,
        learning_parts(model.video_language, model.vision.tower, stage.still_blocks, still_words=stage.still_words),
        stage.trainer,
        context.directory,
        cpu=True,
    )
    trainer.resume()
    done = trainer.step >= stage.trainer.length
    if not done:
        with (
            attention_to_train_with(context.device, model.video_language.language.decoder),
            context.progress("study", "steps", bar=False) as report,
        ):
            done = trainer.run(school.batches(stage), deadline=context.deadline, report=report)
    model.video_language.eval()
    return done


def learning_parts(
    model: VideoLanguageModel, tower: nn.Module, still_blocks: int, *, still_words: bool = False
) -> dict[str, list[nn.Parameter]]:
    """The parts that learn. Raises TrainingError if no block of MemAug does."""
    if still_blocks >= len(model.memaug.layers):
        raise TrainingError(
            f"still_blocks: {still_blocks} leaves none of the {len(model.memaug.layers)} blocks to learn"
        )
    parts = {name: part for name, part in parts_of(model, tower).items() if name != "vision"}
    still = list(model.memaug.layers[:still_blocks].parameters())
    still += model.language.decoder.model.embed_tokens.parameters() if still_words else ()
    kept = {id(weights) for weights in still}
    learning = {
        name: [weights for weights in parts[name] if id(weights) not in kept] for name in ("memaug", "language")
    }
    return parts | learning | {"still": still}


def _objective(school: _School, model: AfterviewModel) -> StudyObjective:
    stage, tokenizer = school.recipe.study, model.tokenizer
    assert tokenizer is not None, "checked before"
    return StudyObjective(
        model.video_language,
        school.words.head,
        forgetting=model.preset.forgetting,
        evidence_weight=stage.evidence_weight,
        telling_weight=stage.telling_weight,
        pointers=pointer_ids(tokenizer).values(),
        names=school.names,
        kinds=LESSON_KINDS,
        clue_weight=stage.clue_weight,
        clue_names=_clue_names(school.names, tokenizer),
        every_block=True,
    )


def _clue_names(names: Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Which of these words a clue tells, bool [W]: colours and shapes."""
    told = {token for label in ("colour", "shape") for value in VALUES[label] for token in tokens_of(tokenizer, value)}
    return torch.tensor([token in told for token in names.tolist()], device=names.device)


def _save(model: AfterviewModel, recipe: NeedleRecipe, directory: Path) -> None:
    """Save in float16, as the model that the lessons began with."""
    for module in (model.video_language, model.vision.tower, model.encoders.index.model):
        module.half()
    index = model.encoders.index
    save_pretrained(replace(model, load_index=lambda: index), directory)
    _LOGGER.info("%s: saved in %s", recipe.name, directory)


def _favoured() -> Tensor:
    """How much likelier each token of a frame is drawn, its newline included: [P + 1]. Few of them tell a clue."""
    weights = torch.ones(GRID * GRID + 1)
    weights[list(CELLS)] = _FAVOUR
    return weights
