"""Times in the names that recorders give their files."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from afterview.stream.source.recordings.name_dates import natural, time_in_name

PARIS = ZoneInfo("Europe/Paris")
LOCAL = datetime(2024, 5, 1, 13, 5, 12, tzinfo=PARIS).timestamp()
IN_UTC = datetime(2024, 5, 1, 13, 5, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "path",
    [
        "2024-05-01_13-05-12.mp4",
        "2024-05-01 13-05-12.mkv",
        "2024-05-01T13-05-12.mp4",
        "2024-05-01T13:05:12.mp4",
        "20240501T130512.mp4",
        "20240501_130512.mp4",
        "20240501130512.mp4",
        "front.20240501_130512.mp4",
        "front_20240501_130512_131512.mp4",
        "01-20240501130512.mkv",
        "NVR_ch1_main_20240501130512_20240501140000.dav",
        "Mp4Record/2024-05-01/RecM01_20240501_130512_130542_0_28A0.mp4",
        "192.168.1.11_2024-05-01_13-05-12.mp4",
        "VID_20240501_130512.mp4",
        "WhatsApp Video 2024-05-01 at 13.05.12.mp4",
        "20240501-130512-131012_192.168.1.11-CH2.mp4",
        "H20240501-130512P1N2P0.avi",
        "2024-05-01/13-05-12.mp4",
        "2024-05-01/13:05:12.mp4",
        "2024-05-01/001/dav/13/13.05.12-13.05.42[M][0@0][0].mp4",
        "/srv/nvr/2024/05/01/13.05.12-13.05.42[R][0@0][0].mp4",
        "2024-05-01/001/jpg/13/05/12[M][0@0][0].jpg",
        "2024-05-01/IP_cam1_S13-05-12E13-10-12.mp4",
        "2024/05/01/130512.mp4",
        "2024-05/01/13/front/05.12.mp4",
        "2024Y05M01D13H/05M12S.mp4",
        "C:\\clips\\20240501\\13-05-12.avi",
        "2023-01-01/2024-05-01_13-05-12.mp4",
        "2023-01-01/2024-05-01/13-05-12.mp4",
        "Screen Recording 2024-05-01 at 1.05.12 PM.mov",
        "Screen Recording 2024-05-01 at 1.05.12\u202fPM.mov",
        "front.20240501_010512PM.mp4",
        "Front Door 5-1-2024, 1.05.12 PM.mp4",
        "RLC-520A-Cam1-2024-05-01-13-05-12.mp4",
        "2024-05-01 13h05m12s.mp4",
    ],
)
def test_local_times(path: str) -> None:
    named = time_in_name(path)
    assert named is not None
    assert named.unix(PARIS) == (LOCAL,)


@pytest.mark.parametrize(
    "path",
    [
        "/media/frigate/recordings/2024-05-01/13/front/05.12.mp4",
        "20240501T130512Z.mp4",
        "2024-05-01T15:05:12+02:00.mp4",
        "2024-05-01T08-05-12-0500.mp4",
        "PXL_20240501_130512.mp4",
        "G4 Doorbell 5-1-2024, 3.05.12 PM GMT+2.mp4",
        "1714568712.mp4",
        "F09FC2A1_0_rotating_1714568712000.mp4",
        "2024050113/05M12S_1714568712.mp4",
    ],
)
def test_times_that_state_their_zone(path: str) -> None:
    named = time_in_name(path)
    assert named is not None
    assert named.unix(PARIS) == (IN_UTC,)


def test_fractions_and_files_of_a_minute() -> None:
    cases = {"2024-05-01_13-05-12-250000.mp4": 0.25, "20240501130512250.jpg": 0.25, "20240501/13/05.mp4": -12.0}
    assert {name: named.unix(PARIS)[0] - LOCAL for name in cases if (named := time_in_name(name))} == cases


@pytest.mark.parametrize(
    "path",
    [
        "story.mp4", "clip 10.mp4", "hiv00001.mp4", "2024-05-01.mp4", "2024-05-01/video.mp4", "12345678901234567890.mp4", "2024.mp4",
        "20241301_130512.mp4", "2024-05-01/00012.jpg", "640x480.mp4", "20240230_130512.mp4", "20240501_990512.mp4", "1920x1080_2.mp4",
    ],
)  # fmt: skip
def test_names_without_a_time(path: str) -> None:
    assert time_in_name(path) is None


def test_an_hour_that_autumn_repeats_has_two_meanings() -> None:
    named = time_in_name("2024-10-27_02-30-00.mp4")
    assert named is not None
    first, second = named.unix(PARIS)
    assert second - first == 3600
    assert named.unix(UTC) == (datetime(2024, 10, 27, 2, 30, tzinfo=UTC).timestamp(),)
    skipped = time_in_name("2024-03-31_02-30-00.mp4")
    assert skipped is not None
    assert len(skipped.unix(PARIS)) == 2


def test_frigate_names_the_camera() -> None:
    named = time_in_name("recordings/2024-05-01/13/front/05.12.mp4")
    assert named is not None
    assert named.camera == "front"


def test_natural_order() -> None:
    assert sorted(["clip 10", "Clip 9", "clip 1"], key=natural) == ["clip 1", "Clip 9", "clip 10"]
