"""`afterview doctor`: what is wrong with this machine, its cameras and its memory, and what to do. Loads no torch."""

import argparse
import os
from itertools import chain
from pathlib import Path

from afterview.cli.arguments import default_memory, memory_path, positive_duration
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import announced
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.stream.doctor.doctor import examine, read_configuration
from afterview.stream.doctor.findings import Finding
from afterview.stream.service.config import ServiceConfig

_LONGEST_S = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Print what each check found. Returns 1 if there is a problem."""
    seconds = positive_duration("--for", arguments.seconds)
    if seconds > _LONGEST_S:
        raise UsageError(f"--for {arguments.seconds}: at most {_LONGEST_S:g} s for each camera")
    config, of_file, findings = ServiceConfig(), list[Finding](), list[Finding]()
    if arguments.config:
        config, found = read_configuration(Path(arguments.config))
        of_file.append(found)
    if arguments.memory is not None and config.memory is not None:
        raise UsageError(f"the memory is given twice: --memory, and memory in {arguments.config}; leave out one")
    memory = memory_path(str(config.memory or arguments.memory or default_memory(os.environ)[0]))
    with announced("checking"):
        for finding in chain(of_file, examine(config, memory, seconds)):
            findings.append(finding)
            if not arguments.json:
                print(printable(finding.describe()), flush=True)
    counts = {state: sum(finding.state == state for finding in findings) for state in ("ok", "warning", "problem")}
    if arguments.json:
        dump({"memory": str(memory), **counts, "findings": [finding.to_dict() for finding in findings]})
    else:
        print(f"{counts['ok']} ok, {counted(counts['warning'], 'warning')}, {counted(counts['problem'], 'problem')}")
    return ExitStatus.FAILURE if counts["problem"] else ExitStatus.OK
