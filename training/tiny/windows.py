"""A bank of clips for the small VideoChat-Flash: four neighbouring seconds of the world each, merged to 64 tokens.

A clip shows one thing for a part of its frames, as clips of a real video do, or an empty scene. Training stories are composed of them
(training.tiny.clip_stories), so a training step neither renders nor encodes.

Legend: W clips, F frames of a job, C vision width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from afterview.configs import Schema
from afterview.memory.base.durable import replacing
from afterview.model.base.settings import FRAMES_PER_CLIP, TOKENS_PER_CLIP
from afterview.model.vision.token_merging import merge_clips
from afterview.model.vision.tower import VisionEncoder
from afterview.training.base.progress import Report
from afterview.training.base.seeds import seeded
from afterview.training.tiny.bank import DAY_S, Bank, BankConfig, Job, index_bank, plan_job, rendered
from afterview.training.tiny.stories import Shelf, shelf_key
from afterview.training.world.script import Event
from afterview.training.world.vocabulary import SCENES

_AT_ONCE: Final = 64  # frames that the tower handles at a time


class WindowConfig(Schema):
    """Size of the bank. A job is one scene of one seed."""

    seeds: int = 26
    things: int = 28  # per job
    backgrounds: int = 10  # clips per job
    image_size: int = 128  # pixels
    encoded: float = 0.2  # share of the jobs that go through H.264


@dataclass(frozen=True)
class WindowJob:
    """One job: the times of its clips in order, and which clip is the first of each event."""

    job: Job
    first_clip: int
    events: tuple[tuple[Event, int], ...]  # event, first of its one or two clips
    empty: tuple[int, ...]  # clips of the empty scene

    @property
    def clips(self) -> int:
        """How many clips it has."""
        return len(self.job.times) // FRAMES_PER_CLIP


def plan_windows(config: WindowConfig) -> list[WindowJob]:
    """All jobs, determined by the configuration."""
    jobs: list[WindowJob] = []
    for number in range(config.seeds):
        for scene in SCENES:
            done = jobs[-1].first_clip + jobs[-1].clips if jobs else 0
            jobs.append(_plan(number, scene, config, done))
    return jobs


def _plan(number: int, scene: str, config: WindowConfig, done: int) -> WindowJob:
    bank = BankConfig(clips=config.things, backgrounds=4 * config.backgrounds, image_size=config.image_size)
    job = plan_job(bank.first_seed + number, scene, bank, 0)
    rng = seeded(f"windows 1, seed {number}, {scene}")
    starts: list[int] = []
    events = []
    for event in job.script.events:
        first, end = math.ceil(event.start_s), math.ceil(event.end_s)
        begins = max(0, first - rng.randrange(FRAMES_PER_CLIP))
        events.append((event, done + len(starts)))
        starts += range(begins, end, FRAMES_PER_CLIP)
    busy = {second for event, _ in events for second in range(math.ceil(event.start_s), math.ceil(event.end_s))}
    quiet = _quiet(rng, [t for t in job.times if int(t) not in busy], busy, config.backgrounds)
    empty = tuple(range(done + len(starts), done + len(starts) + len(quiet)))
    times = tuple(float(start + later) for start in (*starts, *quiet) for later in range(FRAMES_PER_CLIP))
    return WindowJob(replace(job, times=times, first_frame=done * FRAMES_PER_CLIP), done, tuple(events), empty)


def _quiet(rng: Random, times: list[float], busy: set[int], count: int) -> list[int]:
    """Starts of clips in which nothing is shown."""
    free = [
        int(t)
        for t in times
        if t + FRAMES_PER_CLIP < DAY_S and not busy.intersection(range(int(t), int(t) + FRAMES_PER_CLIP))
    ]
    return rng.sample(free, min(count, len(free)))


def shelf_of_windows(jobs: list[WindowJob]) -> Shelf:
    """The bank without its tokens: the first clip of each event by what it shows, and the clips of empty scenes."""
    clips: dict[tuple[str | None, ...], list[tuple[Event, int]]] = {}
    for job in jobs:
        for event, clip in job.events:
            clips.setdefault(shelf_key(event), []).append((event, clip))
    empty = {scene: np.array([c for j in jobs if j.job.scene == scene for c in j.empty]) for scene in SCENES}
    return Shelf(clips, empty)


def labelled(jobs: list[WindowJob]) -> Bank:
    """What each clip shows, as a bank of one row per clip without pixels: labels of the frame that shows a thing."""
    frames = index_bank([job.job for job in jobs], np.zeros((sum(len(j.job.times) for j in jobs), 1), np.uint8))
    labels_WFl = frames.labels.reshape(-1, FRAMES_PER_CLIP, frames.labels.shape[1])
    shows = (labels_WFl[..., 0] >= 0).argmax(1)  # a frame with a thing; without one, the first
    rows = labels_WFl[np.arange(len(labels_WFl)), shows]
    return Bank(np.zeros((len(rows), 1), np.uint8), rows, np.zeros((len(rows), 2), np.float32), (), {})


def make_windows(
    jobs: list[WindowJob], config: WindowConfig, vision: VisionEncoder, path: Path, report: Report
) -> Tensor:
    """Merged tokens of all clips, float16 [W, 64, C], rendered and encoded unless `path` holds them. report: jobs done, jobs in all."""
    total = jobs[-1].first_clip + jobs[-1].clips
    if path.exists():
        return load_file(path)["tokens"]
    every = max(1, round(1 / config.encoded)) if config.encoded else 0
    table = torch.empty(total, TOKENS_PER_CLIP, vision.spec.width, dtype=torch.float16)
    for number, job in enumerate(jobs):
        frames = rendered(job.job, config.image_size, encoded=bool(every) and number % every == 0)
        at = job.first_clip
        for tokens in _merged(frames, vision):
            table[at : at + len(tokens)] = tokens
            at += len(tokens)
        report(number + 1, len(jobs))
    with replacing(path) as partial:
        save_file({"tokens": table}, partial)
    return table


@torch.inference_mode()
def _merged(frames: Iterator[NDArray[np.uint8]], vision: VisionEncoder) -> Iterator[Tensor]:
    heads = int(vision.tower.config.num_attention_heads)
    waiting: list[NDArray[np.uint8]] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == _AT_ONCE:
            yield merge_clips(vision.patches(np.stack(waiting)), FRAMES_PER_CLIP, heads=heads).half()
            waiting = []
    if waiting:
        yield merge_clips(vision.patches(np.stack(waiting)), FRAMES_PER_CLIP, heads=heads).half()
