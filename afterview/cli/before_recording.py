"""What `watch` and `replay` check before they load a model or create anything: a mistake then costs no time and leaves nothing behind."""

import os
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.camera import read_camera

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


def require_same_camera(camera: Path, *, fps: float, timezone: str | None) -> None:
    """Raise UsageError where a camera that exists was created with other values: they never change, so the given ones would have no effect.

    camera: its directory. timezone: as given, or None.
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
