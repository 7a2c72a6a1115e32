"""Length and rates of a training: the key `trainer` of a stage, and of the parts of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.training.base.errors import TrainingError

Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainerConfig(Schema):
    """Length and rates of a training. The defaults are the paper's where it gives them."""

    steps: int | None = Field(default=None, ge=1)  # optimizer steps
    epochs: float | None = Field(
        default=None, gt=0
    )  # instead of steps, in a stage: how often its streams are gone through
    learning_rates: dict[str, Annotated[float, Field(ge=0, le=1)]]  # by part; other parts are frozen
    warmup: float = Field(default=0.03, ge=0, le=1)  # share of the steps with a rising rate
    schedule: Literal["cosine", "constant", "cooldown"] = "cosine"  # cooldown: constant, then linear decrease
    cooldown: float = Field(default=0.2, ge=0, le=1)  # share of the steps with a falling rate
    floor: float = Field(default=0.0, ge=0, le=1)  # final share of the rate
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    clip: float = Field(default=1.0, gt=0)  # norm of the gradient
    accumulate: int = Field(default=1, ge=1)  # batches per step and process
    # What the loss of a step is a mean of. tokens: all its supervised tokens, so it does not matter how the step is divided into batches.
    # batches: the means of its batches (older trainers), in which the tokens of a batch with few of them weigh more.
    loss_over: Literal["tokens", "batches"] = "tokens"
    precision: Literal["no", "bf16", "auto"] = "no"  # auto: bf16 if the machine supports it, see `precision_of`
    seed: int = 0
    log_every: int = Field(default=10, ge=1)  # steps
    save_every: int = Field(default=0, ge=0)  # steps; 0: only at the end

    @model_validator(mode="after")
    def _one_length(self) -> "TrainerConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps, or in a stage epochs, and not both")
        return self

    @property
    def length(self) -> int:
        """Optimizer steps. Raises TrainingError if only epochs are known."""
        if self.steps is None:
            raise TrainingError("epochs count the items of a stage; give steps here")
        return self.steps
