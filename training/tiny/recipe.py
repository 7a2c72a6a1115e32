"""The configuration of the small model: configs/training/tiny.yaml."""

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.memory.plans.recall import RecallConfig
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.preset import Architecture
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.tiny.bank import BankConfig
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.naming import NamingConfig
from afterview.training.tiny.sentences import SentencesConfig


class SightConfig(Schema):
    """The encoders' stage."""

    trainer: TrainerConfig
    frames: int = 768  # per batch
    texts: int = 512  # per batch
    pool: int = 40_000  # texts drawn before the stage starts
    reword: float = 0.0  # share of expressions in texts that are replaced by synonyms
    naming: float = 0.0  # weight of a loss that lets the index learn in far fewer steps (training.tiny.sight)


class StudyConfig(Schema):
    """The last stage: MemAug and decoder."""

    trainer: TrainerConfig
    lessons: tuple[LessonPlan, ...] = Field(min_length=1)
    evidence_weight: float = 0.1
    telling_weight: float = 0.0  # weight of naming everything that the proof shows
    workers: int = 0  # processes that draw stories; 0: one per core, minus one
    ahead: int = 48  # batches drawn ahead, if several processes draw


class Recipe(Schema):
    """Everything that determines the shipped weights."""

    name: str = "tiny"
    seed: int = 0
    architecture: Architecture
    memaug_depth: int = 4
    forgetting: ForgettingConfig
    recall: RecallConfig
    trained_frames: int = 12_000
    evidence_blocks: tuple[int, ...]
    max_new_tokens: int = 32
    notice: str
    bank: BankConfig
    sight: SightConfig
    naming: NamingConfig = NamingConfig()
    sentences: SentencesConfig
    study: StudyConfig

    @model_validator(mode="after")
    def _in_steps(self) -> "Recipe":
        if None in (self.sight.trainer.steps, self.sentences.trainer.steps, self.study.trainer.steps):
            raise ValueError("epochs count the items of a stage; a recipe needs trainer.steps")
        return self
