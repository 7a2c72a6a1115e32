"""Python, torch, processor, GPU, FFmpeg, clock. Torch is looked at, not loaded."""

import ctypes
import importlib.metadata
import importlib.util
import platform
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from afterview.model.base.machine import Machine
from afterview.model.catalogue.encoding import read_costs
from afterview.stream.doctor.findings import Finding

_DECODERS = ("h264", "hevc", "mjpeg", "av1", "vp9", "mpeg4")
_PROTOCOLS = {
    "https": "https://127.0.0.1:9/",
    "rtsps (TLS)": "tls://127.0.0.1:9",
    "srt": "srt://127.0.0.1:9",
    "rtmp": "rtmp://127.0.0.1:9/a",
}
_PROTOCOL_S = 0.5
_LITTLE_MEMORY = 2e9  # bytes free, below which the built-in model and its libraries do not fit
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # this program is not older
_CLOCK_ERROR = 5  # TIME_ERROR of adjtimex: not synchronised


def check_python() -> Iterator[Finding]:
    """The interpreter, and the torch that is installed: its build is read from its files."""
    yield Finding(
        "python", "ok", f"{platform.python_version()} ({sys.executable})", values={"version": platform.python_version()}
    )
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("torch", "problem", "is not installed", "install the package again: pip install .")
        return
    cuda = torch_cuda()
    build = f"built for CUDA {cuda}" if cuda else "built for CPUs"
    yield Finding("torch", "ok", f"{version}, {build}", values={"version": version, "cuda": cuda})


def torch_cuda() -> str | None:
    """The CUDA version of torch's build, without importing it."""
    spec = importlib.util.find_spec("torch")
    places = list(spec.submodule_search_locations or ()) if spec else []
    try:
        text = Path(places[0], "version.py").read_text(encoding="utf-8")
    except (OSError, IndexError):
        return None
    found = re.search(r"^cuda(?:\s*:[^=]*)?\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def check_processor(machine: Machine) -> Iterator[Finding]:
    """Cores and what they can do, memory, GPU."""
    instructions = ", ".join(machine.instructions) or "none of those that torch is fastest with"
    values = {"cores": machine.cores, "instructions": list(machine.instructions)}
    yield Finding(
        "processor", "ok", f"{machine.processor}, {machine.cores} usable cores; {instructions}", values=values
    )
    low = machine.free_bytes < _LITTLE_MEMORY
    yield Finding(
        "memory of the machine", "warning" if low else "ok",
        f"{machine.memory_bytes / 1e9:.1f} GB, {machine.free_bytes / 1e9:.1f} GB free",
        "close other programs: a model and its libraries need more" if low else "",
        {"total_bytes": machine.memory_bytes, "free_bytes": machine.free_bytes},
    )  # fmt: skip
    for gpu in machine.gpus:
        size = "" if gpu.bytes is None else f", {gpu.bytes / 1e9:.1f} GB"
        usable = torch_cuda() is not None
        yield Finding(
            "gpu", "ok" if usable else "problem", f"{gpu.name}{size}, driver {gpu.driver}",
            "" if usable else "torch is built for CPUs and does not use it: install a build for CUDA (pytorch.org)",
            {"name": gpu.name, "total_bytes": gpu.bytes},
        )  # fmt: skip
    if not machine.gpus:
        yield Finding("gpu", "ok", "none (no NVIDIA driver answers); models run on the CPU")
        costs = {own.geometry: own for _, own in read_costs(machine)}.values()
        text = "; ".join(f"{own.part}, {own.geometry}: {own.best}" for own in costs)
        yield Finding(
            "encoders", "ok", text or "float32 (`afterview models measure PRESET` finds out whether another dtype is cheaper here)",
            values={"encoders": [own.to_dict() for own in costs]},
        )  # fmt: skip


def check_ffmpeg() -> Iterator[Finding]:
    """PyAV with the FFmpeg that it brings: decoders, protocols, hardware."""
    import av
    from av.codec.hwaccel import hwdevices_available

    lacking = [name for name in _DECODERS if name not in av.codecs_available]
    codecs = ", ".join(name for name in _DECODERS if name not in lacking)
    yield Finding(
        "ffmpeg", "problem" if "h264" in lacking else "warning" if lacking else "ok",
        f"PyAV {av.__version__}; decodes {codecs}" + (f"; lacks {', '.join(lacking)}" if lacking else ""),
        "install av from the package index, not from source" if lacking else "", {"version": av.__version__, "lacking": lacking},
    )  # fmt: skip
    protocols = {name: _has_protocol(url) for name, url in _PROTOCOLS.items()}
    absent = [name for name, there in protocols.items() if not there]
    text = ", ".join(name for name, there in protocols.items() if there) or "none of those beyond TCP and UDP"
    missing = f"; lacks {', '.join(absent)} (cameras by it need a converter, such as MediaMTX)" if absent else ""
    yield Finding("protocols", "ok", f"{text}{missing}", values={"lacking": absent})
    devices = sorted(hwdevices_available())
    built = f"FFmpeg is built for {', '.join(devices) or 'none'}; `decode: cuda` shows whether a device is there"
    yield Finding("hardware decoding", "ok", built, values={"devices": devices})


def _has_protocol(url: str) -> bool:
    """Whether FFmpeg knows the protocol. Connects to a port of this machine on which nobody listens."""
    import av

    try:
        av.open(url, timeout=_PROTOCOL_S).close()
    except av.error.ProtocolNotFoundError:
        return False
    except (av.FFmpegError, OSError, ValueError):
        return True
    return True


def check_clock(newest: float | None, now: float | None = None) -> Iterator[Finding]:
    """Whether the machine's clock can be right. newest: Unix seconds of the newest frame of the memory."""
    now = time.time() if now is None else now
    zone = datetime.fromtimestamp(now).astimezone()
    text = f"{zone:%Y-%m-%d %H:%M:%S} {zone.tzname()} (UTC{zone:%z})"
    values = {"zone": zone.tzname()}
    remedy = "set the clock (timedatectl set-ntp true), before anything is recorded with wrong times"
    if now < _EARLIEST:
        yield Finding("clock", "problem", f"{text} lies before this program was made", remedy, values)
    elif newest is not None and newest > now + 60:
        yield Finding(
            "clock",
            "problem",
            f"{text} lies {newest - now:.0f} s before the newest frame of the memory",
            remedy,
            values,
        )
    else:
        synchronised = is_synchronised()
        said = {True: "kept by NTP", False: "not kept by NTP", None: "nothing says whether NTP keeps it"}[synchronised]
        yield Finding(
            "clock", "warning" if synchronised is False else "ok", f"{text}; {said}",
            "turn on NTP: timedatectl set-ntp true (in a container: on its host)" if synchronised is False else "",
            {**values, "synchronised": synchronised},
        )  # fmt: skip


def is_synchronised() -> bool | None:
    """Whether the kernel says that its clock is kept by a time server; None where it does not say."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(
            ctypes.create_string_buffer(1024)
        )  # struct timex, modes 0: only asks
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _CLOCK_ERROR
