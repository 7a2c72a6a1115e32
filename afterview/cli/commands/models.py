"""`afterview models`: which presets there are, and the way of their weights to this machine. Loads torch for `measure` alone."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from afterview.cli.arguments import require_model
from afterview.cli.confirm import Declined, confirm
from afterview.cli.output.documents import dump
from afterview.cli.output.models import (
    describe_files,
    describe_own,
    describe_presets,
    describe_speed,
    own_document,
    preset_documents,
)
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError, preset_names
from afterview.configs.suggestions import did_you_mean
from afterview.memory.base.counts import counted
from afterview.model.base.machine import this_machine
from afterview.model.catalogue.catalogue import catalogue
from afterview.model.catalogue.encoding import EncoderCosts, keep_costs
from afterview.model.catalogue.measured import keep_speed
from afterview.model.checkpoint.preset import ModelPreset, find_preset
from afterview.model.download.cache import cache_directory
from afterview.model.download.needed import needed_models
from afterview.model.download.own_presets import remember_preset

_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_BUSY = 0.5  # load average per core beyond which a measurement says little


def run(arguments: argparse.Namespace) -> int:
    """Run one action."""
    actions = {"list": _list, "pull": _pull, "check": _check, "remove": _remove, "measure": _measure}
    return actions[arguments.action or "list"](arguments)


def _list(arguments: argparse.Namespace) -> int:
    machine, name = this_machine(), getattr(arguments, "name", None)
    if name is not None and name not in preset_names():
        require_model(name)
        own = own_document(name, machine)
        if arguments.json:
            dump({"cache": str(cache_directory()), "machine": machine.to_dict(), "presets": [own]})
        else:
            print("\n".join(describe_own(own, machine, cache_directory())))
        return ExitStatus.OK
    presets = [one for one in preset_documents(machine) if name in (None, one["preset"])]
    if arguments.json:
        dump({"cache": str(cache_directory()), "machine": machine.to_dict(), "presets": presets})
        return ExitStatus.OK
    print("\n".join(describe_presets(presets, machine, cache_directory())))
    return ExitStatus.OK


def _preset(name: str, index: str | None = None) -> ModelPreset:
    """The preset, which has models on the hub. Raises UsageError for one that has none."""
    require_model(name)
    preset = find_preset(name)
    if not needed_models(preset, index):
        where = "is part of this package" if name in preset_names() else "lies in directories of this machine"
        raise UsageError(f"model '{name}': {where}, and nothing of it comes from the hub")
    return preset


def _pull(arguments: argparse.Namespace) -> int:
    preset = _preset(arguments.name, arguments.index_encoder)
    if arguments.revision is not None and not _REVISION.fullmatch(arguments.revision):
        raise UsageError(f"--revision {arguments.revision}: give the name of a branch or a tag, or a commit")
    if arguments.revision is not None and preset.encoder is not None:
        raise UsageError(
            f"--revision {arguments.revision}: '{arguments.name}' has an encoder and a decoder; write the revision behind a hub id in its "
            "file: owner/name@REV"
        )
    if arguments.revision is not None and (preset.checkpoint is None or Path(preset.checkpoint).exists()):
        raise UsageError(
            f"--revision {arguments.revision}: the checkpoint of '{arguments.name}' does not come from the hub"
        )
    _require_endpoint(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    with announced("asking the hub"):
        from afterview.model.download.pull import other_revisions, plan, pull, require_room  # late: the hub's client

        plans = plan(preset, index=arguments.index_encoder, revision=arguments.revision)
    missing = sum(planned.missing for planned in plans)
    lines = [
        f"{planned.needed.name} ({planned.needed.part}): {counted(len(planned.files), 'file')}, {planned.bytes / 1e6:,.1f} MB"
        + (f", {planned.missing / 1e6:,.1f} MB to fetch" if planned.missing else ", here")
        for planned in plans
    ]
    require_room(plans)
    if arguments.dry_run:
        return _show_plan(arguments, plans, lines, missing)
    _ask(lines, missing, arguments)
    with progress("fetching", "MB", scale=1e-6) as report:
        pulled = pull(plans, report=report)
    remember_preset(preset)
    if arguments.json:
        dump(
            {
                "model": arguments.name,
                "cache": str(cache_directory()),
                "fetched_bytes": missing,
                "models": [vars(one) for one in pulled],
            }
        )
        return ExitStatus.OK
    for one in pulled:
        print(
            f"{one.repo}: {counted(one.files, 'file')}, {one.bytes / 1e6:,.1f} MB, every checksum right (commit {one.commit[:12]})"
        )
    for name, size in other_revisions(pulled):
        print(f"{name}: {size / 1e6:,.1f} MB of other revisions lie here, too; `models remove` deletes all")
    if arguments.revision is not None and preset.checkpoint is not None:
        named = f"{preset.checkpoint.partition('@')[0]}@{arguments.revision}"
        print(f"use this revision as --model {named}, or as `checkpoint: {named}` in a preset file")
    else:
        print(f"use it: --model {arguments.name}")
    if preset.new_parts:
        print(f"note: {preset.caution}")
    return ExitStatus.OK


def _require_endpoint(address: str) -> None:
    """Raise UsageError for an address of the hub that none can be: its client would fail while it is imported."""
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"HF_ENDPOINT is {address!r}, which is no address of a hub; give https://HOST, or unset it")


def _show_plan(arguments: argparse.Namespace, plans: Sequence[Any], lines: Sequence[str], missing: int) -> int:
    if arguments.json:
        models = [
            {"repo": one.needed.name, "part": one.needed.part, "commit": one.listing.commit, "bytes": one.bytes,
             "missing_bytes": one.missing, "files": [{"name": file.name, "bytes": file.size} for file in one.files]}
            for one in plans
        ]  # fmt: skip
        dump({"model": arguments.name, "dry_run": True, "missing_bytes": missing, "models": models})
    else:
        print("\n".join([*lines, "nothing was fetched (--dry-run)"]))
    return ExitStatus.OK


def _ask(lines: Sequence[str], missing: int, arguments: argparse.Namespace) -> None:
    """Ask at a terminal whether to fetch so much. Without a terminal the command itself is the consent. Raises Declined."""
    if arguments.yes or not missing or arguments.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print("\n".join(lines), file=sys.stderr)
    print(f"Fetch {missing / 1e6:,.1f} MB into {cache_directory()}? [Y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
        raise Declined("nothing was fetched")


def _check(arguments: argparse.Namespace) -> int:
    preset = _preset(arguments.name)
    from afterview.model.download.check import check

    with progress("checking", "MB", scale=1e-6) as report:
        files = check(preset, report=report)
    whole = bool(files) and all(file.state in ("ok", "unchecked") for file in files)
    if arguments.json:
        dump({"model": arguments.name, "whole": whole, "files": [vars(file) for file in files]})
    else:
        print("\n".join(describe_files(files)))
        if not whole:
            print(f"`afterview models pull {arguments.name}` fetches what is missing or damaged")
    return ExitStatus.OK if whole else ExitStatus.FAILURE


def _remove(arguments: argparse.Namespace) -> int:
    preset = _preset(arguments.name)
    from afterview.model.download.check import plan_removal, remove

    removal = plan_removal(preset)
    lines = [f"{repo}: {size / 1e6:,.1f} MB would be deleted" for repo, size in removal.models]
    lines += [f"{repo}: stays, {user} needs it" for repo, user in removal.kept]
    if not removal.models:
        lines.append(f"nothing of {arguments.name} is in {cache_directory()}")
    elif not arguments.dry_run:
        confirm(lines, arguments)
        remove(removal)
    if arguments.json:
        dump({
            "model": arguments.name, "dry_run": arguments.dry_run, "freed_bytes": removal.bytes,
            "removed": [{"repo": repo, "bytes": size} for repo, size in removal.models],
            "kept": [{"repo": repo, "needed_by": user} for repo, user in removal.kept],
        })  # fmt: skip
    elif arguments.dry_run or not removal.models:
        print("\n".join([*lines, *(["nothing was changed (--dry-run)"] if arguments.dry_run else [])]))
    else:
        print(f"{arguments.name}: {removal.bytes / 1e6:,.1f} MB freed")
    return ExitStatus.OK


def _measure(arguments: argparse.Namespace) -> int:
    known = catalogue()
    if arguments.name not in known:
        hint = did_you_mean(arguments.name, list(known)) or f"; there are: {', '.join(known)}"
        raise UsageError(f"'{arguments.name}' is no shipped preset{hint}")
    machine = this_machine()
    with announced("loading PyTorch and transformers"):
        from afterview.model.catalogue.measure import measure

    with announced(f"measuring {arguments.name}"):
        speed = measure(arguments.name, known[arguments.name], device=arguments.device)
    path, encoders = keep_speed(arguments.name, speed, machine), list[EncoderCosts]()
    if speed.device == "cpu":
        from afterview.model.catalogue.measure_encoders import measure_encoders

        with announced("measuring its encoders in float32, bfloat16 and int8"):
            encoders = measure_encoders(known[arguments.name])
        keep_costs(arguments.name, encoders, machine)
    busy = speed.load > _BUSY * machine.cores
    if arguments.json:
        dump(
            {
                "preset": arguments.name,
                "kept_in": str(path),
                "busy": busy,
                "machine": machine.to_dict(),
                "speed": speed.to_dict(),
                "encoders": [one.to_dict() for one in encoders],
            }
        )
        return ExitStatus.OK
    said = [*describe_speed(speed), *(one.describe() for one in encoders)]
    print("\n".join([f"{arguments.name} on {machine.describe()}", *(f"  {line}" for line in said)]))
    if busy:
        print(
            f"  the machine was busy before (load {speed.load:g}, {counted(machine.cores, 'core')}): measure again when it is quiet"
        )
    return ExitStatus.OK
