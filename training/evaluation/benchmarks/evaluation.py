"""One run of a benchmark with a model, from its data directory to results.json. What the command line calls."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.benchmarks.answer_files import write_answers
from afterview.training.evaluation.benchmarks.asking import MemoryAsker
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading, Scoring
from afterview.training.evaluation.benchmarks.features import VideoMemories
from afterview.training.evaluation.benchmarks.online import run_online
from afterview.training.evaluation.benchmarks.processes import Process
from afterview.training.evaluation.benchmarks.running import Share, Work, by_video, chosen_items, run_offline
from afterview.training.evaluation.fingerprint import files_fingerprint, model_settings, values_fingerprint
from afterview.training.evaluation.results import ResultsWriter, RunIdentity


@dataclass(frozen=True)
class Run:
    """What is run. work: where memories are kept; None: in `out`. partial: though videos are missing."""

    benchmark: Benchmark
    data: Path
    model: str
    out: Path
    options: Options = field(default_factory=Options)
    scoring: Scoring = "letter"
    limit: int | None = None
    max_new_tokens: int | None = None
    work: Path | None = None
    discard: bool = False
    partial: bool = False


def run_benchmark(
    run: Run, reading: Reading, *, command: Sequence[str], progress: ShowProgress = unseen
) -> tuple[dict[str, Any], bool]:
    """Ask what is not answered yet. Returns the document, and whether this process has answered its share: others may not have ended.

    reading: from `read_checked`. Raises BenchmarkError, ResultsError, and what load_pretrained raises."""
    if run.scoring == "likelihood" and not run.benchmark.likelihood:
        raise BenchmarkError(f"--score likelihood: {run.benchmark.title} is scored by the text of its answers")
    process = Process.of_environment()
    items = chosen_items(reading.items, run.limit)
    with progress("reading the files' fingerprints"):
        data = files_fingerprint([*reading.files, *(item.video for item in items)], run.data)
    with progress(f"loading model {run.model}"):
        model = load_pretrained(run.model, device=process.device)
    identity = _identity(run, items, data, model)
    memories = VideoMemories(run.work or run.out / "memories", model.encoders, dense=run.benchmark.kind == "offline")
    with ResultsWriter(
        run.out, identity, command=command, process=process.process, processes=process.processes
    ) as results:
        work = Work(
            run.benchmark, items, memories.memory, lambda memory: MemoryAsker(memory, model), run.scoring,
            run.max_new_tokens, Share(process.process, process.processes), memories.discard if run.discard else _kept,
        )  # fmt: skip
        ask_all = run_online if run.benchmark.kind == "online" else run_offline
        document = ask_all(work, results, reading, progress=progress)
        write_answers(run.benchmark, reading, run.out)
        return document, all(item.id in results.done for _, own in by_video(work) for item in own)


def _identity(run: Run, items: Sequence[Item], data: str, model: AfterviewModel) -> RunIdentity:
    config = {
        **run.options.to_dict(), "score": run.scoring, "limit": run.limit, "max_new_tokens": run.max_new_tokens,
        "partial": run.partial, "items": values_fingerprint([_asked(item) for item in items]),
        "scope": "set aside", **model_settings(model),
    }  # fmt: skip
    return RunIdentity("benchmark", run.benchmark.name, model.preset.reference, model.weights_hash, data, config)


def _asked(item: Item) -> list[Any]:
    """What tells two items apart."""
    return [item.id, item.prompt, item.truth, *([asdict(item.standing)] if item.standing is not None else [])]


def _kept(video: Path) -> None:
    """Its memory stays."""
