"""The description of the stored features, so that they are never mistaken for another model's.

A memory stores its spec beside its features (`generation-N/spec.json`). A reader compares it with its model before it uses any token.
The spec has two halves, because the tokens that MemAug attends to and the embeddings that the index searches come from different encoders.
"""

from typing import Any, Literal

from afterview.configs import Schema
from afterview.memory.base.errors import SpecMismatch

Storage = Literal["float16", "int8"]
"""How tokens are stored: as float16, or as int8 codes with a scale per channel and frame (memory.base.int8_tokens)."""

NO_TOKENS = "none"  # encoder of a model that only finds frames: a memory then holds the embeddings of the index, and one 0 for the tokens


class TokenSpec(Schema):
    """How the tokens [T, tokens_per_frame, width] were made."""

    encoder: str  # name of the vision tower, for people
    weights: str  # hash of the tower's weights as stored in its checkpoint: "sha256:..."
    resolution: int  # pixels; frames are squashed to resolution x resolution
    tokens_per_frame: int  # 64: an 8x8 grid (Hour-LLaVA), row-major
    width: int  # Dv
    dtype: Literal["float16"] = "float16"  # what a reader returns, whatever the storage
    storage: Storage = "float16"
    pooling: str = "bilinear"  # how the tower's patches became tokens_per_frame tokens: "bilinear" or "merged"
    preprocessing: str = "square-bicubic-half"  # squash, bicubic, (x/255 - 0.5)/0.5
    frames_per_record: int = (
        1  # frames that are compressed together (clips of VideoChat-Flash: 4); each has its own row
    )
    clip_marks: bool = (
        False  # each frame says its place in its clip (memory.plans.clip_marks): only whole clips mean something
    )


class IndexSpec(Schema):
    """How the unit-norm embeddings [T, width] were made."""

    encoder: str
    weights: str  # of the image tower alone: retraining the text tower needs no re-embedding
    resolution: int
    width: int  # De
    preprocessing: str = "square-bicubic-half"


class FeatureSpec(Schema):
    """Both halves, and the model (preset, hub id or directory) whose encoders made them."""

    model: str
    tokens: TokenSpec
    index: IndexSpec

    def stored_as(self, storage: Storage) -> "FeatureSpec":
        """The same features with another storage."""
        return self.model_copy(update={"tokens": self.tokens.model_copy(update={"storage": storage})})

    def document(self) -> dict[str, Any]:
        """As JSON. Float16 storage and absent marks are not written: versions without these read such a spec, and refuse others."""
        document = self.model_dump(mode="json")
        if self.tokens.storage == "float16":
            del document["tokens"]["storage"]
        if not self.tokens.clip_marks:
            del document["tokens"]["clip_marks"]
        return document

    def differences(self, other: "FeatureSpec") -> list[str]:
        """`tokens.width: 96 here, 1152 there` for every field that differs.

        Names of models and encoders do not count, and neither do the storage and the marks, which say nothing of the tokens.
        """
        found = []
        for half in ("tokens", "index"):
            mine, theirs = getattr(self, half), getattr(other, half)
            for field in type(mine).model_fields:
                if field in ("encoder", "storage", "clip_marks"):
                    continue
                here, there = getattr(mine, field), getattr(theirs, field)
                if here != there:
                    found.append(f"{half}.{field}: {_short(here)} in memory, {_short(there)} in the model")
        return found


def require_same(stored: FeatureSpec, model: FeatureSpec, *, where: str) -> None:
    """Raise SpecMismatch, naming what differs and `reembed`, unless features of `stored` can serve `model`."""
    different = stored.differences(model)
    if different:
        raise SpecMismatch(
            f"{where}: its features were made by '{stored.model}', not by '{model.model}' ({different[0]}"
            f"{f' and {len(different) - 1} more' if len(different) > 1 else ''}); use --model {stored.model}, "
            "or rebuild them from the stored images with `reembed`"
        )


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:19]}..." if len(text) > 22 else text
