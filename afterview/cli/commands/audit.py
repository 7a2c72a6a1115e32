"""`afterview audit`: who did what through the service. Loads no model."""

import argparse
import json
import time

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump, printable
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.errors import MemoryNotFound
from afterview.stream.service.people.audit import KEPT, LARGEST, Line, read_audit

_FIRST = ("id", "time", "user", "door", "what")
_MOST = (KEPT + 1) * LARGEST


def run(arguments: argparse.Namespace) -> int:
    """Print lines, newest first."""
    if arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}: must be at least 1")
    memory = memory_path(arguments.memory)
    if not memory.is_dir():
        raise MemoryNotFound(f"no memory at {memory}; `afterview watch` or `afterview replay` makes one")
    wanted = None if arguments.user is None else (lambda line: line.get("user") == arguments.user)
    lines, unreadable = read_audit(memory, arguments.limit, arguments.before, wanted)
    if arguments.json:
        dump({"lines": lines, "unreadable": unreadable, "kept": {"bytes": _MOST}}, arguments.memory)
        return ExitStatus.OK
    for line in lines:
        print(printable(_shown(line)))
    if unreadable:
        print(f"{unreadable} lines cannot be read")
    if not lines:
        print("nothing")
    return ExitStatus.OK


def _shown(line: Line) -> str:
    more = " ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in line.items() if key not in _FIRST
    )
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
    return f"{when}  {line.get('user')}  {line.get('door')}  {line.get('what')}  {more}"
