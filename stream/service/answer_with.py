"""Which model server of the user's own answers now: none, one, or another one after a reload. Its numbers count on.

Belongs to the event loop.
"""

from collections.abc import Iterable

from afterview.stream.service.answer_with_config import AnswerWithConfig
from afterview.stream.service.measured import Metric
from afterview.stream.service.own_model import OwnModel, Tally


class AnswerWith:
    """current: the server that is asked; None where the built-in model answers."""

    def __init__(self, current: OwnModel | None) -> None:
        self.current = current
        self._tally = current.tally if current is not None else Tally()

    def use(self, fresh: OwnModel | None) -> str:
        """Take over what a new configuration says. Returns what changed, in words; nothing where all is as before.

        Questions that were asked before end with the settings of before. But a server that was removed, or whose address is another one
        now, is sent nothing more: its questions end with an error that says so.
        """
        before = self.current
        if before is not None and fresh is not None:
            changed = _changed(before, fresh)
            if not changed:
                before.server = fresh.server  # authorities that were renewed count at the next connection
                return ""
        elif before is None and fresh is None:
            return ""
        self.current = fresh
        if fresh is not None:
            fresh.tally = self._tally
        if before is None or fresh is None:
            said = f"added, {fresh.what_goes}" if fresh is not None else "removed, the model of the service is asked"
        else:
            said = f"changed ({', '.join(changed)}), {fresh.what_goes}"
        if before is not None:
            gone = fresh is None or fresh.server.chat_url != before.server.chat_url
            before.retire(("removed" if fresh is None else "changed to another server") if gone else None)
        return said

    def stop(self) -> None:
        """Ask nothing more: the service ends."""
        if self.current is not None:
            self.current.stop()

    def notes(self) -> list[str]:
        """What does not work, in sentences."""
        return self.current.notes() if self.current is not None else []

    def metrics(self) -> Iterable[Metric]:
        """Numbers for /metrics; none where no server was ever configured."""
        if self.current is None and not self._tally.used:
            return []
        return self._tally.metrics(self.current)


def _changed(before: OwnModel, fresh: OwnModel) -> list[str]:
    """The keys of the section whose values are others now, also the key's own value in a variable or a file."""
    names = [
        name for name in AnswerWithConfig.model_fields if getattr(before.config, name) != getattr(fresh.config, name)
    ]
    if before.server.key != fresh.server.key and not {"key", "key_file"} & set(names):
        names.append("key")
    return names
