"""Watch live video, keep the features of every sampled frame on disk, and answer questions about what was seen.

import afterview

seen = afterview.open("./cameras")                      # a memory that `afterview watch` or `replay` recorded
answer = afterview.ask(seen, "Did you see a red star?", at="yesterday 14:00")
print(answer.text, [(e.camera, e.time, e.weight) for e in answer.evidence])
for hit in afterview.search(seen, "a red star", last="2h").hits:
    print(hit.camera, hit.time, hit.score)
for camera in afterview.info(seen):
    print(camera.info.name, camera.frames)

model = afterview.load_pretrained("tiny")               # or a hub id, or a directory in the published layout
"""

import importlib
from typing import TYPE_CHECKING, Any

from afterview.configs import AfterviewError, ConfigError, UsageError

if TYPE_CHECKING:
    from afterview.api import ask, ask_recording, info, load_pretrained, open, search
    from afterview.memory.base.errors import (
        CameraBusy,
        CameraMoved,
        DamagedFrames,
        DamagedMemory,
        FormatMismatch,
        MemoryNotFound,
        NameTaken,
        NoLongerRemembered,
        NothingRecorded,
        NotWritable,
        RepositoryError,
        RequestRefused,
        SpecMismatch,
        StoreError,
        StoreRefused,
        StoreUnreachable,
        UnreachableFrames,
        UnreachableOnStore,
        Unreadable,
    )
    from afterview.memory.description import CameraDescription, MemoryDescription
    from afterview.memory.directory import Memory
    from afterview.model.base.errors import (
        BackendUnavailable,
        CheckpointError,
        DamagedCheckpoint,
        HubUnreachable,
        InputMismatch,
        ModelError,
        ModelNotFound,
        NoLanguageModel,
        NotPulled,
        NotSaved,
        PullFailed,
        TensorMismatch,
        TokenizerMissing,
    )
    from afterview.model.checkpoint.models import AfterviewModel
    from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
    from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence
    from afterview.stream.ask.recording import RecordingAnswer
    from afterview.stream.ask.search import Hit, SearchResult

__version__ = "0.1.0"
__all__ = [
    "AfterviewError",
    "AfterviewModel",
    "Answer",
    "BackendUnavailable",
    "CameraAnswer",
    "CameraBusy",
    "CameraDescription",
    "CameraMoved",
    "CheckpointError",
    "ConfigError",
    "Coverage",
    "DamagedCheckpoint",
    "DamagedFrames",
    "DamagedMemory",
    "Evidence",
    "FormatMismatch",
    "Hit",
    "HubUnreachable",
    "InputMismatch",
    "Memory",
    "MemoryDescription",
    "MemoryNotFound",
    "ModelError",
    "ModelNotFound",
    "ModelServerBusy",
    "ModelServerError",
    "NameTaken",
    "NoLanguageModel",
    "NoLongerRemembered",
    "NotPulled",
    "NotSaved",
    "NotWritable",
    "NothingRecorded",
    "PullFailed",
    "RecordingAnswer",
    "RepositoryError",
    "RequestRefused",
    "SearchResult",
    "SpecMismatch",
    "StoreError",
    "StoreRefused",
    "StoreUnreachable",
    "TensorMismatch",
    "TokenizerMissing",
    "UnreachableFrames",
    "UnreachableOnStore",
    "Unreadable",
    "UsageError",
    "__version__",
    "ask",
    "ask_recording",
    "info",
    "load_pretrained",
    "open",
    "search",
]

# Loaded on first use: `import afterview`, `--help` and `info` must start without numpy and torch.
_HOMES = {
    "afterview.api": ("ask", "ask_recording", "info", "load_pretrained", "open", "search"),
    "afterview.memory.description": ("CameraDescription", "MemoryDescription"),
    "afterview.memory.directory": ("Memory",),
    "afterview.model.checkpoint.models": ("AfterviewModel",),
    "afterview.stream.ask.question": ("Answer", "CameraAnswer", "Coverage", "Evidence"),
    "afterview.stream.ask.recording": ("RecordingAnswer",),
    "afterview.stream.ask.search": ("Hit", "SearchResult"),
}
_ERRORS = (  # all other names
    "afterview.memory.base.errors",
    "afterview.model.base.errors",
    "afterview.stream.ask.own_model.errors",
)

if not TYPE_CHECKING:  # a type checker shall find misspelt names

    def __getattr__(name: str) -> Any:
        if name in __all__:
            homes = [home for home, names in _HOMES.items() if name in names] or _ERRORS
            for module in map(importlib.import_module, homes):
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module 'afterview' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
