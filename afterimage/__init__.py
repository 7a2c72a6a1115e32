"""Afterimage watches live video, remembers every second of it, and answers questions about anything it has seen.

import afterimage

seen = afterimage.open("./cameras")                      # a memory that `afterimage watch` or `replay` recorded
answer = afterimage.ask(seen, "What colour was the car?")
print(answer.text, [(e.camera, e.time, e.weight) for e in answer.evidence])

model = afterimage.load_pretrained("tiny")               # or a hub id, or a directory in the published layout
"""

from typing import TYPE_CHECKING, Any

from configs import AfterimageError

__version__ = "0.1.0"
__all__ = ["AfterimageError", "__version__", "ask", "load_pretrained", "open"]

if TYPE_CHECKING:
    from afterimage.api import ask, load_pretrained, open


def __getattr__(name: str) -> Any:
    # The model room loads torch; `import afterimage`, `--help`, `info` must not wait for it.
    if name in ("ask", "load_pretrained", "open"):
        from afterimage import api

        return getattr(api, name)
    raise AttributeError(f"module 'afterimage' has no attribute '{name}'")
