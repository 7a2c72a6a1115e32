"""`afterview serve`: the service that stays up."""

import argparse
import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from afterview import __version__
from afterview.cli.arguments import default_memory, memory_path, require_model
from afterview.cli.first_run import tell_what_it_knows
from afterview.cli.imports import without_collection
from afterview.cli.logs import show_times
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump
from afterview.cli.torch_libraries import load_torch_libraries
from afterview.configs import ExitStatus, UsageError, missing_extra
from afterview.memory.base.errors import RepositoryError
from afterview.memory.directory import Memory
from afterview.model.checkpoint.preset import find_preset
from afterview.stream.service.config import HttpConfig, ServiceConfig, load_service_config
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.redact import redact_values

if TYPE_CHECKING:  # loads torch: in a thread, after the service listens
    from afterview.model.checkpoint.for_questions import AskedModel

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    show_times(redact_values)
    path = Path(arguments.config) if arguments.config else None
    config = ServiceConfig() if path is None else load_service_config(path)
    config = config.model_copy(update={"http": _with_options(config.http, arguments)})
    require_model(config.model)
    if arguments.memory is not None and config.memory is not None:
        raise UsageError(f"the memory is given twice: --memory, and memory in {arguments.config}; leave out one")
    memory = memory_path(str(config.memory or arguments.memory or default_memory(os.environ)[0]))
    _require_model_here(memory, config.model)
    try:
        from afterview.stream.service.serve import Service
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette", "argon2"):
            raise
        raise missing_extra("serve", "the service") from None
    service = Service(
        memory,
        config,
        _load_model,
        version=__version__,
        reload=None if path is None else lambda: load_service_config(path),
    )
    run_loop(service.run(lambda url: _ready(url, memory, as_json=arguments.json)))
    gc.freeze()  # the model's objects need no last collection, which takes seconds
    return ExitStatus.OK


def _require_model_here(memory: Path, model: str | None) -> None:
    """Raise NotPulled if weights of the model that the engine will choose are not here; say once what it knows."""
    try:
        spec = next((reader.spec for reader in Memory(memory).cameras()), None)
    except RepositoryError:  # none yet, or damage, which the service reports
        spec = None
    name = model or (spec.model if spec else "tiny")
    require_weights(name, recorded=spec)
    if spec is None and not (preset := find_preset(name)).new_parts:  # of those it is said when the model is loaded
        tell_what_it_knows(memory, preset)


def _with_options(http: HttpConfig, arguments: argparse.Namespace) -> HttpConfig:
    given = {"bind": arguments.bind, "port": arguments.port}
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        raise UsageError(f"--port {arguments.port}: must be between 0 (a free one) and 65535")
    return http.model_copy(update={name: value for name, value in given.items() if value is not None})


def _ready(url: str, memory: Path, *, as_json: bool) -> None:
    if as_json:
        dump({"url": url, "pid": os.getpid()}, str(memory))
        sys.stdout.flush()  # a program waits for this line, and the next output may come in months
    _LOGGER.info("listening on %s; memory %s; stop with Ctrl-C", url, memory)


def _load_model(name: str, index: str | None) -> "AskedModel":
    """In a thread, while the service answers already: the loop must not stand still meanwhile."""
    load_torch_libraries()
    # A collection of a million new objects would hold the loop for a second, again and again.
    with without_collection(freeze="torch" not in sys.modules):
        from afterview.model.checkpoint.for_questions import load_for_questions  # late: it loads torch

        model = load_for_questions(name, recorded_index=index)
        from afterview.model.catalogue.quicken import quicken

        quicken(model.encoders)  # they are loaded on first use
    if model.preset.new_parts:
        _LOGGER.warning("note: %s", model.notice)
    return model
