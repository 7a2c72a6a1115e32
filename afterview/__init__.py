"""Watch live video, keep the features of every sampled frame on disk, and answer questions about what was seen.

import afterview

seen = afterview.open("./cameras")                      # a memory that `afterview watch` or `replay` recorded
answer = afterview.ask(seen, "Did you see a red star?")
print(answer.text, [(e.camera, e.time, e.weight) for e in answer.evidence])

model = afterview.load_pretrained("tiny")               # or a hub id, or a directory in the published layout
"""

from typing import TYPE_CHECKING, Any

from afterview.configs import AfterviewError

__version__ = "0.1.0"
__all__ = ["AfterviewError", "__version__", "ask", "load_pretrained", "open"]

if TYPE_CHECKING:
    from afterview.api import ask, load_pretrained, open


def __getattr__(name: str) -> Any:
    # Loaded on first use: afterview.api loads torch, and `import afterview`, `--help` and `info` must start without it.
    if name in ("ask", "load_pretrained", "open"):
        from afterview import api

        return getattr(api, name)
    raise AttributeError(f"module 'afterview' has no attribute '{name}'")
