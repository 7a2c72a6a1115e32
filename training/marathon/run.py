"""Runs the pipeline, stage by stage. It can be stopped at any moment, by a power cut, too, and continues when it is run again.

A local run works with threads: its models are reached over a network or compute nothing. With `ray` the files of each stage are divided
among the workers of Ray Data (training.marathon.ray_flow), on this machine or a cluster that shares the directories. Models on vLLM answer
whole stages together (training.marathon.vllm_flow).
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afterview.configs import UsageError, load
from afterview.memory.base.counts import counted
from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.failpoints import reach
from afterview.memory.base.lock import file_lock
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.marathon.config import MarathonConfig
from afterview.training.marathon.export import Exported, export
from afterview.training.marathon.models.answers import KeptAnswers
from afterview.training.marathon.models.prompts import prompt_hashes
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.stage import NAMES, STAGES, VIDEOS, Stage
from afterview.training.marathon.stages.tools import (
    Tools,
    model_of,
    on_vllm,
    opened_tools,
    require_different,
    require_vllm,
    roles_of,
)
from afterview.training.marathon.stages.videos import in_files, listing_hash
from afterview.training.marathon.stages.work import find_videos, make_files

LOCK = "lock"
CONFIG = "config.json"
_VERSION = 1  # of what the stages make of the same answers

_LOGGER = logging.getLogger(__name__)
Numbers = Sequence[int]
MakeFiles = Callable[
    [Sequence[str], Numbers, Callable[[int], None]], None
]  # stages, files, called with how many are done


@dataclass(frozen=True)
class Ran:
    """What a run did. stages: their provenance, by name. asked: what the models were asked, by role."""

    out: Path
    stages: dict[str, dict[str, Any]]
    asked: dict[str, dict[str, int]] = field(default_factory=dict)
    exported: Exported | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Items that could not be made, in all stages."""
        return sum(int(about.get("failed", 0)) for about in self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        exported = None if self.exported is None else self.exported.to_dict()
        return {
            "out": str(self.out), "seconds": round(self.seconds, 1), "failed": self.failed, "asked": self.asked, "stages": self.stages,
            "exported": exported,
        }  # fmt: skip


def run(
    config_path: Path,
    videos: Path,
    out: Path,
    *,
    until: str | None = None,
    redo: str | None = None,
    ray: int = 0,
    progress: ShowProgress = unseen,
) -> Ran:
    """Run what is not done yet. until: the last stage to run. redo: the first stage to make anew, with all after it.

    ray: workers of Ray Data; 0: none. Raises ConfigError, UsageError, EndpointError and MarathonError; what was done is kept.
    """
    config = load(config_path, MarathonConfig)
    require_different(config)
    require_vllm(config)
    for name in (until, redo):
        if name is not None and name not in NAMES:
            raise UsageError(f"{name}: no such stage; there are: {', '.join(NAMES)}")
    if not videos.is_dir():
        raise UsageError(f"--videos {videos}: is not a directory")
    began, data = time.monotonic(), DataSet(out)
    make_directory(out)
    with _alone(out):
        _redo(data, redo)
        kept = KeptAnswers(out)
        try:
            write_file(out / CONFIG, config.model_dump_json(indent=1).encode())
            asked = _Run(config, videos, data, kept, progress).to_end(until, ray)
        finally:
            kept.close()
        about = {name: data.provenance(name) or {} for name in NAMES if data.provenance(name)}
        exported = None
        if until is None:
            exported = export(data, config, videos, progress=progress)
    return Ran(out, about, asked, exported, time.monotonic() - began)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One run at a time in a directory."""
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(out / LOCK, patience_s=0.0))
        except TimeoutError:
            raise UsageError(f"{out}: another run is at work there; wait for it, or give another --out") from None
        yield


def _redo(data: DataSet, first: str | None) -> None:
    for name in reversed(NAMES[NAMES.index(first) :] if first is not None else ()):
        data.remove(name)


class _Run:
    """One run."""

    def __init__(
        self, config: MarathonConfig, videos: Path, data: DataSet, kept: KeptAnswers, progress: ShowProgress
    ) -> None:
        self._config, self._videos, self._data, self._kept, self._progress = config, videos, data, kept, progress
        self._models = {role: model_of(role, given, videos).identity for role, given in roles_of(config).items()}
        self._prompts = prompt_hashes()
        self._identities: dict[str, str] = {}

    def to_end(self, until: str | None, ray: int) -> dict[str, dict[str, int]]:
        """Run the stages; returns what was asked."""
        self._find()
        if until == VIDEOS:
            return {}
        wanted = STAGES[: NAMES.index(until)] if until is not None else STAGES
        if on_vllm(self._config) is not None:
            from afterview.training.marathon.vllm_flow import opened_vllm  # late: it loads Ray

            with opened_vllm(self._config, self._videos, self._data, self._kept, ray or os.cpu_count() or 1) as batches:
                for stage in wanted:
                    self._stages([stage], batches.make)
                return batches.counts
        if ray:
            from afterview.training.marathon.ray_flow import opened_ray  # late: it loads Ray

            with opened_ray(self._config, self._videos, self._data.out, self._kept, ray) as flow:
                self._stages(wanted, flow.make)  # all in one: a worker takes a file through all stages
                return flow.counts
        with opened_tools(self._config, self._videos, self._kept) as tools:
            for stage in wanted:
                self._stages([stage], lambda names, numbers, done: _locally(self._data, names, numbers, tools, done))
            return tools.counts

    def _find(self) -> None:
        """The first stage."""
        made, count = listing_hash(self._videos)
        if not count:
            raise UsageError(f"--videos {self._videos}: holds no video file")
        most = self._config.videos_per_file
        settings = [self._config.videos.model_dump(exclude={"most_events"}), self._config.seed, most, made]
        about = {
            "stage": VIDEOS,
            "identity": _hash([_VERSION, VIDEOS, settings]),
            "found": count,
            "files": -(-count // most),
        }
        if self._begun(VIDEOS, about):
            return
        began = time.monotonic()
        with self._progress("videos", "videos") as report:
            for number, group in enumerate(in_files(self._videos, most)):
                if not self._data.file(VIDEOS, number).is_file():
                    find_videos(self._data, number, group, self._videos, self._config)
                report(min((number + 1) * most, count), count)
        self._end(VIDEOS, about, began)

    def _stages(self, stages: Sequence[Stage], make: MakeFiles) -> None:
        """Make what these stages lack, then note that they are done."""
        begun = [stage for stage in stages if not self._begun(stage.name, self._about(stage))]
        began, files, names = time.monotonic(), self._data.count(), [stage.name for stage in begun]
        todo = [number for number in range(files) if not all(self._data.file(name, number).is_file() for name in names)]
        if todo:
            what = names[0].replace("-", " ") if len(names) == 1 else f"{len(names)} stages"
            with self._progress(what, "files") as report:
                report(files - len(todo), files)
                make(names, todo, lambda done: report(files - len(todo) + done, files))
        for stage in begun:
            self._end(stage.name, self._about(stage), began)

    def _about(self, stage: Stage) -> dict[str, Any]:
        """What decides a stage's rows, and the content of what it reads, as far as that is done."""
        roles = {role: self._models[role] for role in stage.roles(self._config)}
        purposes = {purpose: self._prompts[purpose] for purpose in stage.purposes if roles}
        needs = {name: self._identities[name] for name in stage.needs}
        decides = [
            _VERSION,
            stage.name,
            stage.settings(self._config),
            roles,
            purposes,
            needs,
            self._config.seed,
            self._config.repairs,
        ]
        return {
            "stage": stage.name, "identity": _hash(decides), "models": roles, "prompts": purposes, "seed": self._config.seed,
            "input": {name: (self._data.provenance(name) or {}).get("content") for name in stage.needs},
        }  # fmt: skip

    def _begun(self, name: str, about: dict[str, Any]) -> bool:
        """Whether a stage is done. Raises UsageError if it was made of something else."""
        self._identities[name] = about["identity"]
        before = self._data.provenance(name)
        if before is None:
            self._data.write_provenance(name, {**about, "done": False})
            return False
        if before.get("identity") != about["identity"]:
            changed = [key for key in ("found", "models", "prompts", "seed") if before.get(key) != about.get(key)]
            what = ", ".join(changed) or ("the videos' names or sizes, or videos" if name == VIDEOS else "settings")
            raise UsageError(
                f"{self._data.folder(name)}: was made of something else ({what} changed); make it and what follows anew with "
                f"`--redo {name}` (answers that fit are used again), or give another --out"
            )
        return bool(before.get("done"))

    def _end(self, name: str, about: dict[str, Any], began: float) -> None:
        summary = self._data_summary(name)
        reach("marathon.before-done")
        seconds = round(time.monotonic() - began, 3)
        self._data.write_provenance(name, {**about, **summary, "seconds": seconds, "done": True})
        said = f"{counted(summary['rows'], 'row')}"
        for key, word in (("failed", "failed"), ("left_out", "left out")):
            said += f", {summary[key]} {word}" if summary[key] else ""
        _LOGGER.info("%s: %s in %.1f s", name.replace("-", " "), said, seconds)

    def _data_summary(self, name: str) -> dict[str, Any]:
        if name != VIDEOS:
            return self._data.summary(name)
        about = self._data.provenance(VIDEOS) or {}
        return {"files": about["files"], **self._data.summary(VIDEOS)}


def _locally(data: DataSet, names: Sequence[str], numbers: Numbers, tools: Tools, done: Callable[[int], None]) -> None:
    for count, number in enumerate(numbers, 1):
        make_files(data, names, number, tools)
        done(count)


def _hash(decides: Any) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:32]


def stages_of(out: Path) -> list[dict[str, Any]]:
    """What is there of each stage, in order. Raises UsageError for a directory without a run."""
    data = DataSet(out)
    if data.provenance(VIDEOS) is None:
        raise UsageError(
            f"{out}: holds no run; begin one with `afterview marathon run CONFIG --videos DIR --out {out}`"
        )
    files, found = data.count(), []
    for name in NAMES:
        about = data.provenance(name)
        there = sum(data.file(name, number).is_file() for number in range(files)) if about else 0
        state = "waiting" if about is None else "done" if about.get("done") else "begun"
        found.append({"stage": name, "state": state, "files": there, "of": files, **_shown(about or {})})
    return found


def _shown(about: dict[str, Any]) -> dict[str, Any]:
    keys = ("rows", "failed", "left_out", "seconds", "identity", "models", "prompts", "input", "content", "reasons")
    return {key: about[key] for key in keys if key in about}
