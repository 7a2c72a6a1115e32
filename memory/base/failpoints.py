"""Named places where a test can kill this process, as the kernel's out-of-memory killer would.

AFTERVIEW_FAILPOINT=seal.before-commit:3 ends the process with SIGKILL when it reaches that place for the third time. Without
the variable, `reach` is an empty function.
"""

import os
import signal

POINTS = (
    "append.before-write",
    "append.after-write",
    "append.after-fsync",
    "seal.before",
    "seal.half-written",
    "seal.before-commit",
    "seal.after-commit",
    "seal.after-journal",
    "evict.before-commit",
    "evict.after-commit",
    "evict.half-erased",
    "evict.after-erase",
    "forget.before-commit",
    "forget.after-commit",
    "forget.half-erased",
    "forget.after-erase",
    "overwrite.noted",
    "overwrite.half",
    "overwrite.done",
    "thin.before-commit",
    "thin.after-commit",
    "thin.half-erased",
    "index.before-segment",
    "index.after-segment",
    "index.after-about",
)
UPLOAD_POINTS = (  # only reached if a memory has a store
    "upload.after-put",
    "upload.before-release",
    "upload.after-release",
    "upload.before-publish",
    "upload.half-erased",
    "upload.after-coarse",
    "upload.before-thinned",
    "upload.half-thinned",
)
MARATHON_POINTS = (  # of training.marathon
    "marathon.after-answer",
    "marathon.before-file",
    "marathon.after-file",
    "marathon.before-done",
)
_EVERY = (*POINTS, *UPLOAD_POINTS, *MARATHON_POINTS)

_armed, _, _count = os.environ.get("AFTERVIEW_FAILPOINT", "").partition(":")

if _armed:
    if _armed not in _EVERY:
        raise SystemExit(f"AFTERVIEW_FAILPOINT={_armed}: no such place; there are: {', '.join(_EVERY)}")
    _left = int(_count or 1)

    def reach(name: str) -> None:
        """Kill this process if this place is armed and the count is reached."""
        global _left
        if name == _armed:
            _left -= 1
            if _left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

else:

    def reach(name: str) -> None:
        """Nothing: no failpoint is armed."""
