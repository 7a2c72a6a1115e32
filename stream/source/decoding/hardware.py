"""Decoding on an NVIDIA GPU (NVDEC), by FFmpeg's hardware contexts."""

from typing import TYPE_CHECKING

import av
from av.codec.hwaccel import HWAccel

from afterview.configs import UsageError
from afterview.stream.errors import NotAVideo, SourceError
from afterview.stream.source.config import Decode

if TYPE_CHECKING:
    from afterview.stream.source.address.address import SourceAddress

_PROBED = "h264"  # every NVIDIA decoder has it
_INSTEAD = "use --decode needed, which decodes on the CPU"


def accelerator(decode: Decode) -> HWAccel | None:
    """What `av.open` is to decode with; None: the CPU. Pictures come back to the CPU's memory. It never falls back in silence."""
    return HWAccel("cuda", allow_software_fallback=False) if decode == "cuda" else None


def require_decoder(decode: Decode) -> None:
    """Raises UsageError if this machine cannot decode so."""
    device = accelerator(decode)
    if device is None:
        return
    try:
        device.create(av.Codec(_PROBED, "r"))
    except (av.FFmpegError, OSError, NotImplementedError, ValueError):
        raise UsageError(
            f"--decode cuda: no NVIDIA GPU that decodes video was found (`nvidia-smi` lists GPUs; the driver's library libnvcuvid is "
            f"needed, in a container with the capability 'video'); {_INSTEAD}"
        ) from None


def on_gpu_unknown(address: "SourceAddress") -> SourceError:
    """The GPU has no decoder for a codec."""
    return NotAVideo(f"{address.redacted}: --decode cuda: the GPU cannot decode its codec; {_INSTEAD}")
