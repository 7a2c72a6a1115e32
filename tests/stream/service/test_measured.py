"""Metrics as Prometheus reads them."""

from afterview.stream.service.measured import Histogram, Measured, exposition


def test_a_histogram_counts_upwards() -> None:
    histogram = Histogram()
    for value in (0.05, 0.3, 0.33, 99.0):
        histogram.add(value)
    lines = histogram.lines("x")
    assert 'x_bucket{le="0.1"} 1' in lines
    assert 'x_bucket{le="0.33"} 3' in lines
    assert 'x_bucket{le="30"} 3' in lines
    assert 'x_bucket{le="+Inf"} 4' in lines
    assert lines[-1] == "x_count 4"


def test_every_metric_is_described_and_labels_are_escaped() -> None:
    camera = {
        "camera": 'a"b\\c',
        "state": "online",
        "last_time": None,
        "reconnects": 2,
        "recorded": 5,
        "dropped": 1,
        "lag_s": 0.1,
    }
    text = exposition([camera], {"yard": (10, None)}, Measured(), model_ready=False, waiting=3, refused=4, tasks=7)
    assert r'afterview_camera_up{camera="a\"b\\c"} 1' in text
    assert r'afterview_frames_dropped_total{camera="a\"b\\c",reason="queue full"} 1' in text
    assert "last_frame_timestamp_seconds{" not in text  # there is no frame yet
    assert "afterview_questions_waiting 3" in text
    assert "afterview_tasks 7" in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    described = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    plain = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names}
    assert plain <= described
    assert all(name.startswith("afterview_") for name in described)
