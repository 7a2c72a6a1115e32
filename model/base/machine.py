"""What this machine is: processor, memory, GPU. Read from the system in milliseconds; loads no torch."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
_GPU_S = 5.0  # nvidia-smi takes one where the driver must wake up


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU. bytes: of its memory; None if the driver does not say."""

    name: str
    bytes: int | None
    driver: str


@dataclass(frozen=True)
class Machine:
    """cores: that this process may use. memory_bytes: of the machine, or of the container if that is less."""

    processor: str
    cores: int
    instructions: tuple[str, ...]
    memory_bytes: int
    free_bytes: int
    gpus: tuple[Gpu, ...]
    torch: str | None  # version; None: not installed

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def identity(self) -> dict[str, Any]:
        """What a measurement of speed depends on."""
        return {
            "processor": self.processor,
            "cores": self.cores,
            "gpus": [gpu.name for gpu in self.gpus],
            "torch": self.torch,
        }

    def describe(self) -> str:
        """For people: '2 cores, 24 GB, no GPU'."""
        gpus = ", ".join(gpu.name + ("" if gpu.bytes is None else f" ({gpu.bytes / 1e9:.0f} GB)") for gpu in self.gpus)
        return (
            f"{self.cores} core{'s' * (self.cores != 1)}, {self.memory_bytes / 1e9:.0f} GB memory, {gpus or 'no GPU'}"
        )


def this_machine(*, gpus: bool = True) -> Machine:
    """Ask the system. gpus: also the GPU's driver, which may take a second."""
    info = _read("/proc/cpuinfo")
    total, free = _memory()
    return Machine(
        processor=_field(info, "model name") or _field(info, "Model") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        instructions=_instructions(info),
        memory_bytes=total,
        free_bytes=free,
        gpus=_gpus() if gpus else (),
        torch=installed_version("torch"),
    )


def _instructions(info: str) -> tuple[str, ...]:
    flags = set((_field(info, "flags") or _field(info, "Features") or "").split())
    return tuple(name for name in _INSTRUCTIONS if name in flags)


def _memory() -> tuple[int, int]:
    """Total and free bytes."""
    info = _read("/proc/meminfo")
    total, free = (int((_field(info, name) or "0").split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and 0 < int(limit) < total:
        total, free = int(limit), max(0, min(free, int(limit) - (int(used) if used.isdigit() else 0)))
    return total, free


def _gpus() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_GPU_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return tuple(Gpu(row[0], int(row[1]) << 20 if row[1].isdigit() else None, row[2]) for row in rows if len(row) == 3)


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
