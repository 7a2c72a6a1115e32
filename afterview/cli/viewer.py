"""Opens pictures with the viewer of the desktop."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_PATIENCE_S = 5.0  # a program that runs longer than this is the viewer itself


def open_picture(path: Path) -> bool:
    """Open a picture as a double click would. Where that is not possible, a note says why and names the file; never an error."""
    program, why = _viewer()
    if program is not None:
        try:
            process = subprocess.Popen(
                [program, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            status = process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return True
        except OSError as error:
            why = f"{program}: {error.strerror}"
        else:
            if status == 0:
                return True
            why = f"{Path(program).name} found no program for pictures (status {status})"
    _LOGGER.warning("note: cannot open the picture: %s; it is at %s", why, path)
    return False


def _viewer() -> tuple[str | None, str]:
    """The program that opens files with the user's viewers, or why there is none."""
    name = "open" if sys.platform == "darwin" else "xdg-open"
    if name == "xdg-open" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None, "this session has no desktop (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    program = shutil.which(name)
    return program, "" if program else f"this machine has no {name} (package xdg-utils)"
