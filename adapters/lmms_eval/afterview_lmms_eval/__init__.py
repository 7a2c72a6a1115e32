"""Afterview as a model of lmms-eval: `--model afterview`. Depends on lmms-eval and the standard library alone.

exchange    a worker of Afterview in its own environment, or a service over HTTP
models      what lmms-eval calls
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest


def manifest() -> "ModelManifest":
    """Entry point of the group `lmms_eval.models`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="afterview",
        simple_class_path="afterview_lmms_eval.models.AfterviewSimple",
        chat_class_path="afterview_lmms_eval.models.AfterviewChat",
        aliases=("afterview-worker",),
    )
