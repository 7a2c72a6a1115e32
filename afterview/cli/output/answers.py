"""An answer as text for people."""

from typing import TYPE_CHECKING

from afterview.cli.output.documents import describe_gap, describe_time_basis, printable
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.ask.span import describe_removal

if TYPE_CHECKING:
    from afterview.stream.ask.question import Answer, Coverage


def print_answer(
    answer: "Answer", images: dict[tuple[str, int], str], zones: dict[str, CameraInfo], *, text: bool = True
) -> None:
    """The answer for a person: text, evidence, coverage, each time in its camera's zone. `text` False where it was streamed."""
    if text:
        print(printable(answer.text) or "(the model said nothing)")
    if answer.notice:
        print(f"\nnote: {answer.notice}")
    if answer.evidence:
        print("\nevidence")
    for item in answer.evidence:
        when = zones[item.camera].show(item.time)
        image = images.get((item.camera, item.frame), "")
        print(f"  {item.camera}  {when}  frame {item.frame:<7} weight {item.weight:.3f}  {image}")
    if answer.declined:
        return
    print("\ncoverage")
    for part in answer.parts:
        _print_coverage(part.coverage, zones[part.coverage.camera])
        if len(zones) > 1:
            print(f"    asked: {part.why}")
    for name, why in answer.skipped.items():
        print(f"  {printable(name)}: not asked: {printable(why)}")
    first_s = min(part.timing["first_token_s"] for part in answer.parts)
    print(f"\nfirst token after {first_s:.2f} s, complete after {answer.total_s:.2f} s; answer {answer.id}")


def _print_coverage(coverage: "Coverage", info: CameraInfo) -> None:
    first, last = info.show(coverage.first_time), info.show(coverage.last_time)
    length = spell_duration(coverage.last_time - coverage.first_time + 1 / info.fps)
    attended = "all of them" if coverage.recall == "full" else f"{coverage.recalled} of them (bounded recall)"
    if coverage.search == "approximate":
        attended += " (approximate search: the same question may recall other frames)"
    print(f"  {coverage.camera}: {coverage.frames} frames, {first} to {last} ({length})")
    lag = spell_duration(coverage.lag_s)
    print(f"    attended to {attended}; newest frame is {lag} older than the time of the question")
    print(f"    times from: {describe_time_basis(coverage.time_basis)}")
    for gap in coverage.gaps:
        print(f"    gap: {describe_gap(gap, info)}")
    for gone in coverage.removed:
        print(f"    {describe_removal(gone, info)}")
    if coverage.damaged:
        print(f"    {coverage.damaged} frames could not be read and were left out; `afterview fsck` says what is wrong")
    if coverage.unreachable:
        print(f"    {coverage.unreachable} frames cannot be read now and were left out: {coverage.unreachable_why}")
