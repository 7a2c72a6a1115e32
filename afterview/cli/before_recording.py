"""What `watch` and `replay` check before they load a model or create anything: a mistake then costs no time and leaves nothing behind."""

import math
import os
from pathlib import Path

from afterview.cli.arguments import newest_frame
from afterview.configs import UsageError
from afterview.memory.base.camera import local_timezone, read_camera
from afterview.memory.reading.reader import CameraReader

DAY_S = 86_400.0  # seconds; that clocks and time zones may be wrong by
_ACK_HEAD = 64  # bytes of an ack file that are checked: at least one line of id, time and CRC
_ACK_BYTES = frozenset(b"0123456789abcdef.+- \n\0")  # a power cut can leave zeros


def require_ack_file(text: str | None) -> None:
    """Check --ack-file. Raises UsageError for a directory, a missing directory, and a file of other content.

    Lines that a crash cut off are accepted: the next watch must start.
    """
    if text is None:
        return
    path = Path(text)
    if os.path.isdir(path):
        raise UsageError(f"--ack-file {text}: is a directory; give the name of a file")
    if not os.path.isdir(path.parent):
        raise UsageError(f"--ack-file {text}: there is no directory {path.parent}; make it first")
    if os.path.isfile(path):
        try:
            with path.open("rb") as file:
                head = file.read(_ACK_HEAD)
        except OSError as error:
            raise UsageError(f"--ack-file {text}: cannot be read: {error.strerror}") from None
        if set(head) - _ACK_BYTES:
            raise UsageError(f"--ack-file {text}: is not an ack file; give another name")


def require_start(text: str, moment: float, now: float) -> float:
    """Check --start. Raises UsageError for a time in the future: the camera could record nothing until then."""
    if moment > now + DAY_S:
        raise UsageError(f"--start {text}: lies in the future; give the time at which the recording began")
    return moment


def zone_of(camera: Path, given: str | None) -> str:
    """The zone of typed times: the given one, else that of a camera that exists, else this machine's. camera: its directory."""
    if given is None and os.path.isfile(camera / "camera.json"):
        return read_camera(camera).timezone
    return given or local_timezone()


def require_same_camera(camera: Path, *, fps: float, timezone: str | None, start: float | None = None) -> None:
    """Raise UsageError where a camera that exists was created with other values: they never change, so the given ones would have no effect.

    camera: its directory. timezone and start: as given, or None; a recording cannot start before the camera's newest frame.
    """
    if not os.path.isfile(camera / "camera.json"):
        return
    info = read_camera(camera)
    if info.fps != fps:
        raise UsageError(
            f"camera '{info.id}' keeps {info.fps:g} frames per second, not {fps:g}; use --fps {info.fps:g}, or another --camera"
        )
    if timezone is not None and timezone != info.timezone:
        raise UsageError(
            f"camera '{info.id}' has the time zone {info.timezone}; leave out --timezone, or give another --camera"
        )
    newest = newest_frame([CameraReader(camera)]) if start is not None else -math.inf
    if start is not None and start < newest:
        raise UsageError(
            f"--start lies at {info.show(start)}, before the newest frame of camera '{info.id}' ({info.show(newest)}); give a later "
            "--start or another --camera"
        )
