"""What the NAL units of a packet say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.source.decoding.packet_kind import PacketKind, PacketKinds

START_CODES, LENGTHS = None, bytes([1, 0, 0, 0, 0xFF])  # extradata of H.264; the second as in MP4: four bytes of length
SPS, PPS, SEI = b"\x67sps", b"\x68pps", b"\x06sei"


def packet(extradata: bytes | None, *units: bytes) -> bytes:
    if extradata is None:
        return b"".join(b"\0\0\0\1" + unit for unit in units)
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize("extradata", [START_CODES, LENGTHS])
def test_h264(extradata: bytes | None) -> None:
    kinds = PacketKinds.for_codec("h264", extradata)
    assert kinds is not None
    idr, reference, unreferenced = b"\x65slice", b"\x41slice", b"\x01slice"
    assert kinds.of(packet(extradata, SPS, PPS, SEI, idr, idr)) == PacketKind(True, "closed", parameters=(SPS, PPS))
    assert kinds.of(packet(extradata, SEI, reference)) == PacketKind(True)  # a recovery point, too
    assert kinds.of(packet(extradata, unreferenced, unreferenced)) == PacketKind(True, disposable=True)
    assert kinds.of(packet(extradata, unreferenced, reference)) == PacketKind(True)  # one of two fields is needed
    assert kinds.of(packet(extradata, PPS, unreferenced)) == PacketKind(True, parameters=(PPS,))
    assert kinds.of(packet(extradata, SEI)) == PacketKind(False)
    assert kinds.with_parameters([SPS], packet(extradata, idr)) == packet(extradata, SPS, idr)


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        (19, PacketKind(True, "closed")),
        (20, PacketKind(True, "closed")),
        (21, PacketKind(True, "open")),
        (16, PacketKind(True, "open")),
        (1, PacketKind(True)),
        (0, PacketKind(True, disposable=True)),
        (8, PacketKind(True, leading=True, disposable=True)),
        (9, PacketKind(True, leading=True)),
        (39, PacketKind(False)),
    ],
)
def test_hevc(unit: int, kind: PacketKind) -> None:
    kinds = PacketKinds.for_codec("hevc", None)
    assert kinds is not None
    assert kinds.of(packet(None, bytes([unit << 1, 1]) + b"slice")) == kind


def test_other_codecs_are_not_understood() -> None:
    assert PacketKinds.for_codec("vp9", None) is None


@given(st.sampled_from(["h264", "hevc"]), st.sampled_from([START_CODES, LENGTHS, bytes(21) + b"\3"]), st.binary())
def test_damaged_packets_have_some_kind(codec: str, extradata: bytes | None, data: bytes) -> None:
    kinds = PacketKinds.for_codec(codec, extradata)
    assert kinds is not None
    assert isinstance(kinds.of(data), PacketKind)
