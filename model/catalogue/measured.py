"""What was measured on this machine, kept in the user's cache with the date and with what the figures depend on. Needs no torch."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from afterview.memory.base.durable import write_file
from afterview.memory.base.lock import file_lock
from afterview.model.base.machine import Machine
from afterview.model.download.cache import user_cache


@dataclass(frozen=True)
class Speed:
    """Speed of a preset's geometry with random weights. Seconds per frame of encoding (vision tower and index encoder), tokens per second.

    decoder_layers_run: layers that were run; with fewer than all the figures of the decoder are scaled from them. load: of the machine
    while it was measured (load average of a minute), without this process. at: Unix seconds.
    """

    encode_s_per_frame: float
    read_tokens_per_s: float | None
    answer_tokens_per_s: float | None
    decoder_layers_run: int
    decoder_layers: int
    device: str
    dtype: str
    threads: int
    load: float
    at: float

    @property
    def cameras_at_1_fps(self) -> float:
        """How many cameras this machine encodes at one frame a second each, doing nothing else."""
        return 1 / self.encode_s_per_frame

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "cameras_at_1_fps": self.cameras_at_1_fps}


def measured_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file of all measurements."""
    return user_cache(environment) / "speed.json"


def read_speeds(machine: Machine) -> tuple[dict[str, Speed], set[str]]:
    """Speeds by preset that were measured on this machine as it is, and presets of which only other measurements are kept (another GPU,
    another torch). A file that cannot be read counts as none."""
    speeds: dict[str, Speed] = {}
    others: set[str] = set()
    for entry in read_entries():
        try:
            name, speed, identity = entry["preset"], Speed(**entry["speed"]), entry["machine"]
        except (KeyError, TypeError):
            continue
        if identity == machine.identity:
            speeds[name] = speed
        else:
            others.add(name)
    return speeds, others - speeds.keys()


def keep_speed(name: str, speed: Speed, machine: Machine) -> Path:
    """Keep a measurement in place of an older one of the same machine. Returns the file. Raises OSError."""
    entry = {"preset": name, "machine": machine.identity, "speed": asdict(speed)}
    return write_entry(entry, lambda old: old.get("preset") == name and old.get("machine") == machine.identity)


def write_entry(entry: Mapping[str, Any], replaces: Callable[[Mapping[str, Any]], bool]) -> Path:
    """Add an entry to the file in place of those that it replaces. Returns the file. Raises OSError."""
    path = measured_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(".speed.lock"), patience_s=5.0):
        kept = [*(one for one in read_entries() if not replaces(one)), entry]
        write_file(path, json.dumps(kept, indent=1).encode())
    return path


def read_entries() -> list[dict[str, Any]]:
    """All entries, of any kind. A file that cannot be read counts as none."""
    try:
        found = json.loads(measured_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
