"""`afterview fsck`. Loads no torch; faiss only where a camera has an index."""

import argparse
import logging

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump, print_skipped
from afterview.cli.progress import announced
from afterview.configs import ExitStatus
from afterview.memory.base.counts import counted
from afterview.memory.base.errors import MemoryNotFound, RepositoryError, in_words
from afterview.memory.directory import none_left
from afterview.memory.fsck.findings import Finding
from afterview.memory.fsck.fsck import Report, camera_directories, fsck

_LOGGER = logging.getLogger(__name__)

_MOST_LINES = 50  # findings printed per camera; --json has all


def run(arguments: argparse.Namespace) -> int:
    """Check every camera. Returns 0 if all are clean or repaired, 1 if damage is left or something could not be checked."""
    memory = memory_path(arguments.memory)
    cameras = camera_directories(memory)
    if not cameras:
        raise MemoryNotFound(f"{memory}: is not a memory; `afterview watch` or `afterview replay` makes one")
    reports: list[Report] = []
    failures: dict[str, RepositoryError] = {}
    for camera in cameras:
        _LOGGER.info("%s: checking", camera.name)
        try:
            with announced(f"{camera.name}: checking"):
                reports.append(fsck(camera, repair=arguments.repair, deep=arguments.deep, progress=_LOGGER.info))
        except (RepositoryError, OSError) as error:  # such as another process that writes it: no repair now
            failures[camera.name] = in_words(error)
    if not reports:
        raise none_left(memory, failures)
    skipped = {name: str(error) for name, error in failures.items()}
    clean = not skipped and all(report.clean for report in reports)
    if arguments.json:
        found = {"clean": clean, "cameras": [report.to_dict() for report in reports], "skipped": skipped}
        dump(found, arguments.memory)
    else:
        for report in reports:
            _print(report, arguments)
        print_skipped(skipped, "not repaired" if arguments.repair else "not checked")
    return ExitStatus.OK if clean else ExitStatus.FAILURE


def _print(report: Report, arguments: argparse.Namespace) -> None:
    state = f"{len(report.damage)} damaged" if report.damage else "clean" if report.clean else "no damage found"
    if report.unchecked:
        state += f", {len(report.unchecked)} not checked"
    print(f"{report.camera.name}: {counted(report.frames, 'frame')}, {state}")
    for finding, result in report.repaired[:_MOST_LINES]:
        print(f"  repaired: {_line(finding, report)}: {result}")
    for finding in report.findings[:_MOST_LINES]:
        print(f"  {finding.severity}: {_line(finding, report)}")
    more = max(0, len(report.findings) - _MOST_LINES)
    if more:
        print(f"  and {more} more; --json lists all")
    if any(finding.fix for finding in report.damage) and not arguments.repair:
        print(f"  `afterview fsck {arguments.memory} --repair` repairs what can be repaired, and reports what it cost")


def _line(finding: Finding, report: Report) -> str:
    memory = report.camera.parent
    where = finding.where.relative_to(memory) if finding.where.is_relative_to(memory) else finding.where
    frames = f" (frames {finding.frames[0]} to {finding.frames[1] - 1})" if finding.frames else ""
    return f"{where} {finding.what}{frames}"
