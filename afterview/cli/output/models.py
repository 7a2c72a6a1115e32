"""Presets, their sizes and their speed, for people and programs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.memory.base.counts import counted
from afterview.model.base.machine import Machine
from afterview.model.catalogue.bundled import bundled_sizes
from afterview.model.catalogue.catalogue import Entry, catalogue, sizes
from afterview.model.catalogue.encoding import read_costs
from afterview.model.catalogue.measured import Speed, read_speeds
from afterview.model.catalogue.pair_sizes import pair_sizes
from afterview.model.checkpoint.preset import find_preset
from afterview.model.download.cache import CachedModel, cache_directory
from afterview.model.download.needed import needed_models, what_lacks, without_weights

if TYPE_CHECKING:
    from afterview.model.download.check import CheckedFile

_MOST_FILES = 20  # that are wrong; --json lists all


def preset_documents(machine: Machine) -> list[dict[str, Any]]:
    """Every preset with what it needs, whether it is here, and its speed if that was measured on this machine."""
    speeds, elsewhere = read_speeds(machine)
    documents = [
        _document(name, entry, machine, speeds.get(name), name in elsewhere) for name, entry in catalogue().items()
    ]
    costs = read_costs(machine)
    for document in documents:
        document["encoders"] = [one.to_dict() for preset, one in costs if preset == document["preset"]]
    return documents


def _document(name: str, entry: Entry, machine: Machine, speed: Speed | None, elsewhere: bool) -> dict[str, Any]:
    preset, width = find_preset(name), 2 if machine.gpus else 4
    need = sizes(entry, bytes_per_parameter=width)
    lacks = what_lacks(preset)
    models = [CachedModel(needed.name, cache_directory()) for needed in needed_models(preset)]
    here_bytes = sum(model.bytes() for model in models)
    bundled = bundled_sizes(preset) if entry.bundled else None
    document: dict[str, Any] = {
        "preset": name,
        "good_for": entry.good_for,
        "state": "bundled" if entry.bundled else "here" if not lacks else "partly" if here_bytes else "not here",
        "missing": [{"repo": lack.needed.name, "part": lack.needed.part} for lack in lacks],
        "bytes_here": bundled.bytes if bundled else here_bytes,
        "download_bytes": need.download if need else 0,
        "memory_bytes": need.memory if need else None,
        "dtype": "bfloat16" if machine.gpus else "float32",
        "disk_bytes_per_hour": need.disk_per_hour if need else bundled.disk_per_hour if bundled else None,
        "sizes": "computed",
        "fits": _fits(need.memory, machine) if need else True,
        "speed": None,
        "measured_elsewhere": elsewhere,
    }
    if speed is not None:
        document["speed"] = {
            **speed.to_dict(),
            "at_iso": datetime.fromtimestamp(speed.at).astimezone().isoformat(timespec="seconds"),
        }
    return document


def own_document(name: str, machine: Machine) -> dict[str, Any]:
    """The same of any model that a person names: a preset file, a directory or a hub id. Raises ModelNotFound, ConfigError."""
    preset, width = find_preset(name), 2 if machine.gpus else 4
    need, lacks, empty = pair_sizes(preset, bytes_per_parameter=width), what_lacks(preset), without_weights(preset)
    needed = needed_models(preset)
    here_bytes = sum(
        CachedModel(repo, cache_directory()).bytes() for repo in {one.name.partition("@")[0] for one in needed}
    )
    return {
        "preset": name,
        "good_for": None,
        "state": "here" if not lacks and not empty else "partly" if here_bytes else "not here",
        "needed": [{"repo": one.name, "part": one.part} for one in needed],
        "missing": [{"repo": lack.needed.name, "part": lack.needed.part} for lack in lacks],
        "without_weights": [{"directory": place, "part": part} for part, place in empty],
        "bytes_here": here_bytes,
        "download_bytes": None,  # the hub knows: `models pull --dry-run`
        "parameters": need.parameters if need else None,
        "memory_bytes": need.memory if need else None,
        "dtype": "bfloat16" if machine.gpus else "float32",
        "disk_bytes_per_hour": need.disk_per_hour if need else None,
        "sizes": "computed" if need else None,
        "fits": _fits(need.memory, machine) if need else None,
        "untrained": list(preset.new_parts),
        "notice": preset.caution,
    }


def describe_own(model: dict[str, Any], machine: Machine, cache: Path) -> list[str]:
    """One such model for people."""
    lines = [f"this machine: {machine.describe()}", "", model["preset"]]
    lines += [
        f"  {one['part']}: {one['directory']} holds no weights or no config.json" for one in model["without_weights"]
    ]
    if not model["needed"] and not model["without_weights"]:
        lines.append("  here: all of it lies in directories of this machine")
    elif model["needed"] and not model["missing"]:
        lines.append(f"  here: {model['bytes_here'] / 1e9:.2f} GB in {cache}")
    elif model["missing"]:
        lacks = "; ".join(f"{lack['part']} ({lack['repo']})" for lack in model["missing"])
        lines.append(f"  not here: {lacks}: afterview models pull {model['preset']} (--dry-run shows how much that is)")
    if model["sizes"]:
        lines.append(f"  {model['parameters'] / 1e9:.2f} billion parameters without the index encoder (computed)")
        lines += _room(model)
    elif any(lack["part"] in ("encoder", "decoder") for lack in model["missing"]):
        lines.append("  memory and disk: known once its config.json is here")
    return [*lines, *([f"  {model['notice']}"] if model["notice"] else [])]


def _room(preset: dict[str, Any]) -> list[str]:
    """Memory and disk that it takes, as far as they are known."""
    lines = []
    if preset["memory_bytes"] is not None:
        fits = "" if preset["fits"] else "; more than this machine has"
        lines.append(f"  memory {preset['memory_bytes'] / 1e9:.1f} GB in {preset['dtype']} (computed){fits}")
    if preset["disk_bytes_per_hour"] is not None:
        lines.append(
            f"  disk {preset['disk_bytes_per_hour'] / 1e6:,.0f} MB an hour and camera at 1 frame a second, images apart (computed)"
        )
    return lines


def _fits(memory: int, machine: Machine) -> bool:
    """Whether the memory of the GPU, or of the machine without one, is large enough."""
    room = [gpu.bytes for gpu in machine.gpus if gpu.bytes is not None]
    return memory <= (max(room) if room else machine.memory_bytes)


def describe_presets(presets: Sequence[dict[str, Any]], machine: Machine, cache: Path) -> list[str]:
    """The list for people."""
    lines = [f"this machine: {machine.describe()}", ""]
    for preset in presets:
        lines += [f"{preset['preset']}: {preset['good_for']}", f"  {_state(preset)}"]
        lines += _room(preset)
        lines += [f"  {line}" for line in _speed(preset)]
        lines += [
            f"  {one['part']}: recording uses {one['best']} on this machine (measured {one['at_iso'][:10]})"
            for one in preset["encoders"]
        ]
    return [
        *lines,
        "",
        f"weights lie in {cache}",
        "computed: from the published shapes; `afterview models measure PRESET` measures speed",
    ]


def _state(preset: dict[str, Any]) -> str:
    name = preset["preset"]
    if preset["state"] == "bundled":
        return f"here: part of this package ({preset['bytes_here'] / 1e6:.1f} MB)"
    if preset["state"] == "here":
        return f"here: {preset['bytes_here'] / 1e9:.2f} GB"
    part = f"; {preset['bytes_here'] / 1e9:.2f} GB of it are here" if preset["bytes_here"] else ""
    return f"not here: about {preset['download_bytes'] / 1e9:.1f} GB to fetch (computed){part}: afterview models pull {name}"


def _speed(preset: dict[str, Any]) -> list[str]:
    if preset["speed"] is not None:
        values = {key: value for key, value in preset["speed"].items() if key not in ("cameras_at_1_fps", "at_iso")}
        return describe_speed(Speed(**values))
    if preset["measured_elsewhere"]:
        return ["speed: measured before this machine, its GPU or torch changed; measure it again"]
    return ["speed: not measured here"]


def describe_speed(speed: Speed) -> list[str]:
    """A measurement for people, with its date."""
    when = datetime.fromtimestamp(speed.at).astimezone().strftime("%Y-%m-%d %H:%M")
    cameras = speed.cameras_at_1_fps
    pace = (
        f"{cameras:.1f} cameras at 1 frame a second"
        if cameras >= 1
        else f"one frame every {speed.encode_s_per_frame:.1f} s"
    )
    lines = [
        f"speed: encoding {speed.encode_s_per_frame * 1e3:,.1f} ms a frame, so {pace} (measured {when}, {speed.device}, {speed.dtype}, "
        f"{counted(speed.threads, 'thread')}, load {speed.load:g} before)"
    ]
    if speed.read_tokens_per_s is not None and speed.answer_tokens_per_s is not None:
        scaled = speed.decoder_layers_run < speed.decoder_layers
        how = f"; scaled from {speed.decoder_layers_run} of {speed.decoder_layers} layers" if scaled else ""
        lines.append(
            f"  decoder: reads {speed.read_tokens_per_s:,.0f} tokens a second, writes {speed.answer_tokens_per_s:,.2f} (same run{how})"
        )
    return lines


def describe_files(files: "Iterable[CheckedFile]") -> list[str]:
    """What a check found, for people."""
    files = list(files)
    lines = []
    for repo in dict.fromkeys(file.repo for file in files):
        own = [file for file in files if file.repo == repo]
        states = {
            state: sum(file.state == state for file in own) for state in ("ok", "unchecked", "damaged", "missing")
        }
        shown = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        lines.append(f"{repo}: {shown} ({sum(file.bytes for file in own) / 1e6:,.1f} MB)")
        wrong = [file for file in own if file.state != "ok"]
        lines += [f"  {file.state}: {file.name}: {file.detail}" for file in wrong[:_MOST_FILES]]
        if len(wrong) > _MOST_FILES:
            lines.append(f"  and {len(wrong) - _MOST_FILES} more; --json lists all")
    return lines or ["nothing of it is here"]
