"""`afterview fsck`. Loads no torch; faiss only where a camera has an index."""

import argparse
import logging

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.fsck.findings import Finding
from afterview.memory.fsck.fsck import Report, camera_directories, fsck

_LOGGER = logging.getLogger(__name__)

_MOST_LINES = 50  # findings printed per camera; --json has all


def run(arguments: argparse.Namespace) -> int:
    """Check every camera. Returns 0 if all are clean or repaired, 1 if damage is left or a store could not be checked."""
    memory = memory_path(arguments.memory)
    if not memory.is_dir() or not camera_directories(memory):
        raise MemoryNotFound(f"{memory}: is not a memory; `afterview watch` or `afterview replay` makes one")
    reports = []
    for camera in camera_directories(memory):
        _LOGGER.info("%s: checking", camera.name)
        reports.append(
            fsck(
                camera,
                repair=arguments.repair,
                deep=arguments.deep,
                progress=_LOGGER.info,
            )
        )
    clean = all(report.clean for report in reports)
    if arguments.json:
        dump({"clean": clean, "cameras": [report.to_dict() for report in reports]}, arguments.memory)
    else:
        for report in reports:
            _print(report, arguments)
    return 0 if clean else 1


def _print(report: Report, arguments: argparse.Namespace) -> None:
    state = f"{len(report.damage)} damaged" if report.damage else "clean" if report.clean else "no damage found here"
    if report.unchecked:
        state += ", store not checked"
    print(f"{report.camera.name}: {report.frames} frames, {state}")
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
    where = finding.where.relative_to(report.camera.parent)
    frames = f" (frames {finding.frames[0]} to {finding.frames[1] - 1})" if finding.frames else ""
    return f"{where} {finding.what}{frames}"
