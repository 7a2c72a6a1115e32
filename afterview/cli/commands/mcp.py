"""`afterview mcp`: the tools for an assistant, over standard input and output."""

import argparse
import gc
from typing import TYPE_CHECKING

from afterview import __version__
from afterview.cli.arguments import memory_path
from afterview.configs import ExitStatus, UsageError, missing_extra
from afterview.memory.directory import Memory
from afterview.stream.service.secrets import TOKEN_VARIABLE, SecretVariables
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.redact import hide_values

if TYPE_CHECKING:  # loads torch: at the first question
    from afterview.model.checkpoint.for_questions import AskedModel


def run(arguments: argparse.Namespace) -> int:
    """Serve until standard input ends."""
    if arguments.memory is not None and arguments.service is not None:
        raise UsageError("--memory and --service both say what to ask; give one of them")
    try:
        from afterview.stream.service.mcp import stdio
        from afterview.stream.service.mcp.forward import service_at
    except ModuleNotFoundError as error:
        if error.name not in ("mcp", "starlette"):
            raise
        raise missing_extra("serve", "MCP") from None
    if arguments.service is not None:
        token = SecretVariables().get(TOKEN_VARIABLE, "").strip()
        hide_values([token] if token else [])
        run_loop(stdio.serve_by_service(service_at(arguments.service, token), __version__))
    else:
        memory = memory_path(arguments.memory)
        Memory(memory)  # raises for one that holds no camera, before an assistant waits
        run_loop(stdio.serve_by_memory(memory, _load_model, __version__))
    gc.freeze()  # the model's objects need no last collection, which takes seconds
    return ExitStatus.OK


def _load_model(name: str, index: str | None) -> "AskedModel":
    from afterview.model.checkpoint.for_questions import load_for_questions  # late: it loads torch

    return load_for_questions(name, recorded_index=index)
