"""Live sources without hardware: FFmpeg's test pictures, devices, and hosts that do not answer; time is injected."""

import socket
import threading

import pytest

from afterview.stream.errors import BadUrl, NotAVideo, SourceTimeout, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.backoff import BackoffConfig
from afterview.stream.source.reader import Event, Frame, Lost, Opened, Retry, SourceConfig, read_events
from tests.support.reading import FakeTime, frames_of, read


def test_test_pictures_come_in_real_time_and_their_end_is_a_failure_to_recover_from() -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    source = parse_source("lavfi:testsrc2=size=64x48:rate=10:duration=1")
    config = SourceConfig(backoff=BackoffConfig(first_s=3, max_s=60, jitter=0, healthy_s=0.5))
    for event in read_events(source, config, stop=stop, clock=lambda: fake.now + 1e9, monotonic=fake, sleep=fake.sleep):
        events.append(event)
        if len(frames_of(events)) == 21:
            stop.set()
    kinds = [type(event) for event in events]
    assert kinds == [Opened, *[Frame] * 10, Lost, Retry, Opened, *[Frame] * 10, Lost, Retry, Opened, Frame]
    first = frames_of(events)[:10]
    assert [frame.arrival_time - 1e9 - 1000 for frame in first] == pytest.approx([number / 10 for number in range(10)])
    assert [frame.pts_s for frame in first] == pytest.approx([number / 10 for number in range(10)])
    assert {frame.source_time for frame in first} == {None}
    assert fake.slept[9] == 3  # after nine waits between ten frames
    assert [event.attempt for event in events if isinstance(event, Retry)] == [
        1,
        1,
    ]  # a second of pictures is healthy here


def test_a_picture_graph_that_is_none_is_refused() -> None:
    with pytest.raises(BadUrl, match="does not accept this lavfi filter graph"):
        read("lavfi:nonesuch=1")


def test_a_device_that_is_no_camera_is_named() -> None:
    with pytest.raises(NotAVideo, match="/dev/null: is not a camera"):
        read("/dev/null")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = SourceConfig(open_timeout_s=0.5, read_timeout_s=0.5)
        address = parse_source(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(SourceTimeout, match=r"no answer within 0\.5 s") as raised:
            list(read_events(address, config, stop=threading.Event()))
    assert raised.value.exit_status == 1


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x.m3u8", "rtmp://127.0.0.1:1/x"])
def test_an_unreachable_host_is_a_failure_not_a_mistake(url: str) -> None:
    with pytest.raises(SourceUnreachable, match="Connection refused") as raised:
        read(url)
    assert raised.value.exit_status == 1


def test_with_patience_an_unreachable_host_is_tried_for_ever() -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    config = SourceConfig(backoff=BackoffConfig(first_s=1, max_s=8, jitter=0))
    for event in read_events(
        parse_source("rtsp://127.0.0.1:1/x"),
        config,
        stop=stop,
        keep_trying=True,
        monotonic=fake,
        sleep=fake.sleep,
        clock=lambda: 5.0,
    ):
        events.append(event)
        if len(events) == 8:
            stop.set()
    assert isinstance(events[0], Lost)
    assert events[0].at == 5.0
    assert [(event.attempt, event.delay_s) for event in events[1:] if isinstance(event, Retry)] == [
        (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (6, 8), (7, 8)
    ]  # fmt: skip
