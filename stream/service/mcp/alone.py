"""The tools of a memory without a service: it is only read, and the model is loaded when the first question needs it."""

import asyncio
from pathlib import Path

from afterview.stream.service.config import ServiceConfig
from afterview.stream.service.engine import Engine, LoadModel
from afterview.stream.service.places import require_readable


class ReadOnlyEngine(Engine):
    """An engine that records no camera, also none that a service would record. Answers are saved, as by `afterview ask`."""

    def __init__(self, memory: Path, load_model: LoadModel, *, version: str) -> None:
        super().__init__(memory, ServiceConfig(), load_model, environment={}, version=version)
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load nothing yet. Raises FormatMismatch."""
        require_readable(self.path)

    def wake(self) -> None:
        """Load the model, unless it is there or on its way; once more, if that failed."""
        if self._loading is None or self.model_state == "failed":
            self.model_state = "loading"
            self._loading = self.spawn(self._load())
