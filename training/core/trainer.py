"""The training loop: optimizer, schedule, accumulation, precision, checkpoints and log, on top of accelerate.

An objective (a module) defines what is learned. The batch depends only on the step's number, so a resumed run draws the
same batches as an uninterrupted one; on the CPU both end with identical bits. The loss of a step is the mean over all
supervised tokens of the step, in all accumulated batches of all processes.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from torch import Tensor, nn

from afterview.memory.base.durable import write_file
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import Report
from afterview.training.core.checkpoints import STATE, find_state, load_state, save_state
from afterview.training.core.parts import parameter_groups, rates_of
from afterview.training.core.processes import done_by_all, over_processes
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.data.report import ItemProblem, ItemReport, listing, log_problems

_LOGGER = logging.getLogger(__name__)

LOG: Final = "log.jsonl"
_WEIGHT: Final = "loss/weight"  # what the sum of losses is divided by for the log
_BATCHES: Final = "batches"  # "NAME/batches": how many had a figure
_DIGITS: Final = 6  # significant digits of figures in the log
# accelerate warns at every checkpoint that tied embeddings are saved once. This is intended.
logging.getLogger("accelerate.utils.other").addFilter(lambda record: "Removed shared tensor" not in record.getMessage())


@dataclass(frozen=True)
class StepOutput:
    """Result of one batch: the loss (a mean), and figures for the log."""

    loss: Tensor
    figures: Mapping[str, Tensor]
    tokens: int | None = (
        None  # how many the loss is the mean of; None: it is no mean of tokens, every batch counts the same
    )
    problems: Sequence[ItemProblem] = ()  # items of the batch that were left out or cut


BatchOf = Callable[[int], Any]  # number of the batch, over all processes -> batch
OnLog = Callable[[dict[str, float]], None]


class Trainer:
    """Trains an objective: a module that takes a batch and returns a StepOutput."""

    def __init__(
        self,
        objective: nn.Module,
        parts: Mapping[str, list[nn.Parameter]],
        config: TrainerConfig,
        directory: Path,
        *,
        cpu: bool = False,
        on_log: OnLog | None = None,
        batch: int | None = None,
        report: ItemReport | None = None,
        most_skipped: int | None = None,
    ) -> None:
        """directory: for checkpoints and the log. batch: samples of one batch; with it, a checkpoint can be
        continued in another number of processes. report: problems found before. most_skipped: items that
        may be left out while training. Raises TrainingError if the rates do not fit the parts.
        """
        directory.mkdir(parents=True, exist_ok=True)
        set_seed(config.seed)
        self.config, self.directory, self.step = config, directory, 0
        self.accelerator = Accelerator(mixed_precision=precision_of(config, cpu=cpu), cpu=cpu)
        self._batch = batch
        self.report, self._most_skipped = report or ItemReport(), most_skipped
        groups = parameter_groups(parts, config.learning_rates, weight_decay=config.weight_decay)
        self._rates = [float(group["lr"]) for group in groups]
        fused = self.accelerator.device.type == "cuda"
        optimizer = torch.optim.AdamW(groups, betas=config.betas, fused=fused)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self._on_log = on_log or (lambda figures: None)
        self._sums: dict[str, Tensor] = {}
        self._summed, self._timed, self._waited, self._since = 0, 0, 0.0, time.monotonic()

    def run(
        self,
        batch_of: BatchOf,
        *,
        until: int | None = None,
        deadline: float = math.inf,
        report: Report | None = None,
    ) -> bool:
        """Train from the present step up to step `until` (default: all steps), then save.

        deadline: time.monotonic() after which no new step starts. report: called after each step. Returns whether all steps are done.
        """
        end = self.config.length if until is None else min(until, self.config.length)
        self.objective.train()
        while self.step < end and time.monotonic() < deadline:
            self._take_step(batch_of)
            if report:
                report(self.step, end)
            if self.step % self.config.log_every == 0 or self.step == end:
                self._log()
            if self.config.save_every and self.step % self.config.save_every == 0:
                self.save()
        self.save()
        return self.step >= self.config.length

    def save(self) -> None:
        """Write a checkpoint: parameters, optimizer, random state and step. The previous one stays intact until the new one is complete.

        Raises TrainingError, and keeps the previous checkpoint, if the loss is not finite or the disk is full.
        """
        self._require_sense({name: float(value) for name, value in self._sums.items() if name == "loss"})
        progress: dict[str, Any] = {
            "step": self.step, "processes": self.accelerator.num_processes, "items": self.report.to_dict()["items"],
        }  # fmt: skip
        if self._batch is not None:
            progress["global_batch"] = self._batch * self.config.accumulate * self.accelerator.num_processes
        if self.accelerator.num_processes == 1:  # so that the next log line covers all its steps
            progress |= {"sums": {name: float(value) for name, value in self._sums.items()}, "summed": self._summed}
        save_state(self.accelerator, self.directory, progress)

    def resume(self) -> bool:
        """Load the last checkpoint and remove later lines from the log. Returns False if there is no checkpoint.

        Raises TrainingError if the checkpoint cannot be read.
        """
        with self.accelerator.main_process_first():
            state = find_state(self.directory)
        if state is not None:
            progress = load_state(self.accelerator, state, seed=self.config.seed)
            self.step, self._summed = int(progress["step"]), int(progress.get("summed", 0))
            sums: dict[str, float] = progress.get("sums", {})
            if "loss" in sums:
                sums.setdefault(_WEIGHT, float(self._summed))  # earlier versions added up the means of batches
            self._sums = {name: torch.tensor(value, device=self.accelerator.device) for name, value in sums.items()}
            self.report.add(ItemProblem(**item) for item in progress.get("items", ()))
        if self.accelerator.is_main_process and (log := self.directory / LOG).exists():
            write_file(log, "".join(json.dumps(line) + "\n" for line in self.logged()).encode())
        return state is not None

    def logged(self) -> list[dict[str, float]]:
        """Lines of the log up to the present step."""
        path = self.directory / LOG
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = []
        for line in lines:
            try:
                figures = json.loads(line)
            except ValueError:  # the last line is incomplete
                break
            if figures["step"] <= self.step:
                kept.append(figures)
        return kept

    @property
    def sharded(self) -> bool:
        """Whether each process holds only a shard of every parameter."""
        return bool(self.accelerator.distributed_type == DistributedType.FSDP)

    @property
    def rates(self) -> dict[str, float]:
        """Present learning rate of every part, read from the optimizer."""
        return rates_of(self.optimizer)

    def _take_step(self, batch_of: BatchOf) -> None:
        share = rate_share(self.step, self.config)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        accelerator, count = self.accelerator, self.config.accumulate
        weights, problems = 0.0, list[ItemProblem]()
        for number in range(count):  # the processes take the batches of a step in turn
            whole = self.step * count + number
            mine = whole * accelerator.num_processes + accelerator.process_index
            began = time.monotonic()
            batch = done_by_all(accelerator, partial(batch_of, mine), "read its batch")
            self._waited += time.monotonic() - began
            # Gradients are exchanged once per step, with those of its last batch.
            alone = nullcontext() if number == count - 1 else accelerator.no_sync(self.objective)
            with alone, accelerator.autocast():
                output: StepOutput = self.objective(batch)
                weight = self._weight_of(output)
                accelerator.backward(output.loss * weight)
            weights += weight
            problems += output.problems
            self._note({"loss": output.loss.detach() * weight, _WEIGHT: torch.tensor(weight), **output.figures})
        weights, problems = over_processes(accelerator, weights, problems)
        if weights:  # otherwise no item of the step could be used
            self._rescale(accelerator.num_processes / weights)
            accelerator.clip_grad_norm_(self.objective.parameters(), self.config.clip)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._report(problems)

    def _weight_of(self, output: StepOutput) -> float:
        if output.tokens is None:
            return 1.0
        return float(output.tokens if self.config.loss_over == "tokens" else output.tokens > 0)

    def _rescale(self, factor: float) -> None:
        """Turn the mean of sums into a mean over the step. By the same factor in every process."""
        if factor == 1:
            return
        for parameter in self.objective.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def _report(self, problems: list[ItemProblem]) -> None:
        """Note items that could not be used. Raises TrainingError, after a save, if they are more than may be left out."""
        new = self.report.add(problems)
        if not new:
            return
        if self.accelerator.is_main_process:
            log_problems(new)
            self.report.write(self.directory)
        skipped = [problem for problem in self.report.problems if problem.happened == "skipped"]
        if self._most_skipped is not None and len(skipped) > self._most_skipped:
            self.save()
            raise TrainingError(
                f"step {self.step}: {len(skipped)} items could not be used, and max_skipped allows {self._most_skipped}: "
                f"{listing(skipped)}; "
                "mend them, or raise max_skipped, and continue with --resume"
            )

    def _note(self, figures: Mapping[str, Tensor]) -> None:
        """Add figures up on the device, and count the batches that have each. Reading them would force a synchronisation."""
        for name, value in figures.items():
            value = value.detach().float().to(self.accelerator.device)
            for key, more in ((name, value), (f"{name}/{_BATCHES}", torch.ones_like(value))):
                self._sums[key] = self._sums[key] + more if key in self._sums else more
        self._summed += 1
        self._timed += 1

    def _log(self) -> None:
        """Log the means since the last line, over all processes. Figures named '/right' are divided by '/asked' and become accuracies.

        A figure that only some batches have is the mean of these.
        """
        several = self.accelerator.num_processes
        added = self.accelerator.reduce(self._sums, "sum") if several > 1 else self._sums
        sums = {name: float(value) for name, value in added.items()}
        figures: dict[str, float] = {"step": float(self.step)}
        weight = sums.pop(_WEIGHT, 0.0)
        loss = sums.pop("loss", 0.0)
        if weight:
            figures["loss"] = loss / weight
        for name, value in sums.items():
            kind, _, what = name.rpartition("/")
            if what == "right" and sums[f"{kind}/asked"]:
                figures[f"accuracy/{kind}"] = value / sums[f"{kind}/asked"]
            elif what not in ("right", "asked", _BATCHES):
                figures[name] = value / sums.get(
                    f"{name}/{_BATCHES}", self._summed * several
                )  # earlier versions did not count
        seconds = max(1e-9, time.monotonic() - self._since)
        figures["steps_per_s"] = self._timed / self.config.accumulate / seconds  # since this process started
        figures["data_share"] = self._waited / seconds  # share of the time spent waiting for batches
        figures |= {f"rate/{part}": rate for part, rate in self.rates.items()}
        self._require_sense(figures)
        self._sums, self._summed, self._timed, self._waited, self._since = {}, 0, 0, 0.0, time.monotonic()
        # on_log gets the same values as a reader of the log
        figures = {name: value if name == "step" else float(f"{value:.{_DIGITS}g}") for name, value in figures.items()}
        if self.accelerator.is_main_process:
            with (self.directory / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(figures) + "\n")
            _LOGGER.info("%s", one_line(figures))
        self._on_log(figures)

    def _require_sense(self, figures: Mapping[str, float]) -> None:
        if not math.isfinite(loss := figures.get("loss", 0.0)):
            raise TrainingError(
                f"step {self.step}: the loss is {loss}; lower learning_rates or lengthen the warmup, and check the data for "
                f"values that are not finite. A checkpoint in {self.directory / STATE} is unchanged"
            )


def precision_of(config: TrainerConfig, *, cpu: bool = False) -> Literal["no", "bf16"]:
    """The precision that `config.precision` means on this machine. A processor without bf16 instructions needs twice as long with bf16."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available() and not cpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else "no"


def rate_share(step: int, config: TrainerConfig) -> float:
    """The share of its full rate that every part has at a step: linear warmup, then the schedule. Pure."""
    warm = config.warmup * config.length
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "cooldown":
        left = (config.length - step) / max(1.0, config.cooldown * config.length)
        return config.floor + (1 - config.floor) * min(1.0, left)
    done = (step - warm) / max(1.0, config.length - warm)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * done))


def one_line(figures: Mapping[str, float]) -> str:
    """A line of the log for people."""
    shown = [
        f"{name.removeprefix('accuracy/')} {value:.3g}"
        for name, value in figures.items()
        if name != "step" and not name.startswith("rate/")
    ]
    return f"step {figures['step']:.0f}  " + "  ".join(shown)
