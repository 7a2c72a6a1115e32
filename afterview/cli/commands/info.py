"""`afterview info`. Loads neither torch nor faiss."""

import argparse
from collections.abc import Iterator

from afterview.cli.arguments import readable_memory
from afterview.cli.cautions import caution_of
from afterview.cli.output.documents import (
    describe_gap,
    describe_limits,
    describe_time_basis,
    dump,
    print_skipped,
    printable,
)
from afterview.cli.output.states import describe_state
from afterview.cli.output.stores import describe_published, describe_store
from afterview.configs import ExitStatus
from afterview.memory.base.counts import counted, spell_bytes, were
from afterview.memory.base.feature_spec import NO_TOKENS
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.description import CameraDescription, MemoryDescription
from afterview.memory.directory import Memory
from afterview.memory.plans.downsampling import FEWER

_MOST_GAPS = 10  # closed ones, and spans that are gone, printed per camera; --json has all


def run(arguments: argparse.Namespace) -> int:
    """Describe what a memory holds: every camera that can be read. The others are named. Fails if there is none."""
    memory = MemoryDescription.of(Memory(readable_memory(arguments.memory, measured=True)))
    if arguments.json:
        document = memory.to_dict()
        for shown, camera in zip(document["cameras"], memory, strict=True):
            shown["model_notice"] = caution_of(camera.spec.model)
        dump(document, arguments.memory)
        return ExitStatus.OK
    for camera in memory:
        _print(camera)
    if memory.answers:
        print(
            f"{counted(memory.answers, 'saved answer')}: {spell_bytes(memory.answer_bytes)}; `afterview answers` lists them"
        )
    print_skipped(memory.skipped, "not shown")
    return ExitStatus.OK


def _print(camera: CameraDescription) -> None:
    info, tokens = camera.info, camera.spec.tokens
    print(info.id if info.name == info.id else f"{info.id} ({printable(info.name)})")
    if camera.first_time is None or camera.last_time is None:
        print("  no frame yet")
    else:
        length = spell_duration(camera.frames / info.fps)
        print(
            f"  {counted(camera.frames, 'frame')} ({length} at {info.fps:g} per second), "
            f"{info.show(camera.first_time)} to {info.show(camera.last_time)}"
        )
        print(f"  times from: {describe_time_basis(camera.time_basis)}")
    if camera.rules.settings is not None and camera.rules.settings.features_reused:
        reused = counted(camera.rules.settings.features_reused, "frame")
        print(f"  {reused} took the features of a frame before, from which they hardly differ (--reuse-features)")
    if camera.pictures_damaged:
        print(f"  {counted(camera.pictures_damaged, 'frame')} with a damaged picture: parts were lost on the way here")
    merged = f", merged in clips of {tokens.frames_per_record}" if tokens.frames_per_record > 1 else ""
    shape = f"{tokens.tokens_per_frame} tokens of {tokens.width} a frame{merged}, {tokens.storage}"
    if tokens.encoder == NO_TOKENS:
        shape = f"the index alone, {camera.spec.index.width} numbers a frame; it finds frames and does not answer"
    where = " on this machine" if camera.store else ""
    print(f"  {camera.bytes / 1e6:.1f} MB{where}; model {camera.spec.model}: {shape}")
    if (caution := caution_of(camera.spec.model)) is not None:
        print(f"  {printable(caution)}")
    if camera.tiers.downsampled:
        print(f"  {camera.tiers.downsampled} old frames keep {tokens.tokens_per_frame // FEWER} of them")
    if (evictions := camera.evictions).last_at is not None:
        limit = f" by the limit in {evictions.limit}" if evictions.limit else ""
        print(
            f"  {counted(evictions.frames, 'frame')} {were(evictions.frames)} evicted; last at {info.show(evictions.last_at)}{limit}"
        )
    if camera.store:
        print(f"  {describe_store(camera.store, info)}")
        if camera.store.place is not None:
            print(f"  {describe_published(camera.store, info)}")
    if camera.journal_damage:
        print(f"  frames that are not sealed are missing here: {camera.journal_damage}")
    if camera.damaged:
        print(
            f"  {camera.damaged} frames are missing here because they cannot be read; `afterview fsck` says what is wrong"
        )
    for line in (*_writer(camera), *_rules(camera), *_removed(camera)):
        print(f"  {line}")
    closed = [gap for gap in camera.gaps if not gap.lasts]
    for gap in closed[-_MOST_GAPS:]:
        print(f"  gap: {describe_gap(gap, info)}")
    if len(closed) > _MOST_GAPS:
        print(f"  and {counted(len(closed) - _MOST_GAPS, 'earlier gap')}; --json lists all")
    for gap in camera.gaps[len(closed) :]:
        print(f"  gap: {describe_gap(gap, info)}")


def _writer(camera: CameraDescription) -> Iterator[str]:
    """Who records the camera, and how far behind."""
    if camera.writer is None:
        return
    writer = camera.writer
    who = (
        f"process {writer.pid} on {writer.host} since {camera.info.show(writer.since)}"
        if writer.since
        else "another process"
    )
    behind = "" if camera.lag_s is None else f"; the newest frame is {spell_duration(max(0.0, camera.lag_s))} old"
    yield f"being recorded by {who}{behind}" if writer.recording else f"being changed by {who}"
    if camera.state is not None:
        yield from map(printable, describe_state(camera.state))


def _rules(camera: CameraDescription) -> Iterator[str]:
    """What a person has set."""
    info, rules = camera.info, camera.rules
    if rules.settings is None or rules.limits is None:
        yield f"settings: unknown: {rules.problem}"
        return
    if rules.settings.paused:
        yield "paused; `afterview resume` continues"
    if limits := describe_limits(rules.limits):
        yield f"limits: {limits}"
    if masks := len(rules.settings.masks):
        yield f"masks: {masks}; `afterview mask` lists them"
    for start, end in rules.settings.key_frames:
        span = f"since {info.show(start)}" if end is None else f"{info.show(start)} to {info.show(end)}"
        yield f"sampled at key frames alone: {span}"
    for start, end in rules.settings.keep:
        yield f"kept: {info.show(start)} to {info.show(end)}"


def _removed(camera: CameraDescription) -> Iterator[str]:
    """What is no longer remembered; the newest spans in full."""
    for gone in camera.removed[-_MOST_GAPS:]:
        span = f"{camera.info.show(gone.start)} to {camera.info.show(gone.stop)}"
        yield f"no longer remembered: {span}: {counted(gone.frames, 'frame')}, {gone.reason} on {camera.info.show(gone.at)}"
    if len(camera.removed) > _MOST_GAPS:
        earlier = camera.removed[:-_MOST_GAPS]
        yield f"and {counted(len(earlier), 'earlier span')} of {counted(sum(gone.frames for gone in earlier), 'frame')}; --json lists all"
