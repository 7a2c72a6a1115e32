"""Reads the first bits of H.264 NAL units: which number a picture has, and where a stream recovers. Pure. ITU-T H.264, 7.3."""

from dataclasses import dataclass

_SCALED = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles whose sequence names its colours
_RECOVERY_POINT = 6  # SEI payload
_INTRA = {2, 4}  # slice types I and SI, modulo 5


class _Bits:
    """The bits of a NAL unit without its emulation prevention bytes. Beyond the end, zeros."""

    def __init__(self, data: bytes) -> None:
        clean = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(clean, "big"), 8 * len(clean)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._left -= count
        value = self._value >> self._left if self._left >= 0 else 0
        return value & ((1 << count) - 1)

    def golomb(self) -> int:
        """An Exp-Golomb number; 0 for damaged data."""
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence parameter set says about frame numbers. gaps: some may be missing on purpose. width, height: pixels of a picture."""

    number_bits: int
    colour_planes: bool
    gaps: bool
    width: int = 0
    height: int = 0


def read_sequence(unit: bytes) -> Sequence:
    """Of a NAL unit of type 7."""
    bits = _Bits(unit[1:])
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    planes, colour = False, 1
    if profile in _SCALED:
        colour = bits.golomb()
        planes = colour == 3 and bool(bits.take(1))
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for place in range(12 if colour == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if place < 6 else 64)
    number_bits = min(16, bits.golomb() + 4)
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(255, bits.golomb())):
            bits.golomb()
    bits.golomb()
    return Sequence(number_bits, planes, bool(bits.take(1)), *_size(bits, colour))


def _size(bits: _Bits, colour: int) -> tuple[int, int]:
    """Width and height without what is cropped. colour: chroma_format_idc."""
    width, height = 16 * (bits.golomb() + 1), 16 * (bits.golomb() + 1)
    fields = 2 - bits.take(1)
    if fields == 2:
        bits.take(1)
    bits.take(1)
    if not bits.take(1):
        return width, height * fields
    left, right, top, bottom = (bits.golomb() for _ in range(4))
    across, down = 2 if colour in (1, 2) else 1, 2 if colour == 1 else 1
    return width - across * (left + right), fields * (height - down * (top + bottom))


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + (code + 1 >> 1) * (1 if code % 2 else -1)) % 256
        last = following or last


@dataclass(frozen=True, slots=True)
class SliceHead:
    """intra: it needs no other picture. number: frame_num."""

    intra: bool
    number: int


def read_slice(unit: bytes, sequence: Sequence) -> SliceHead:
    """Of the beginning of a NAL unit of type 1 or 5."""
    bits = _Bits(unit[1:24])
    bits.golomb()
    kind = bits.golomb()
    bits.golomb()
    if sequence.colour_planes:
        bits.take(2)
    return SliceHead(kind % 5 in _INTRA, bits.take(sequence.number_bits))


def recovery_frames(unit: bytes) -> int | None:
    """Of a NAL unit of type 6: after how many frames the picture is whole, whatever came before; None: it does not say."""
    data, at = unit[1:].replace(b"\0\0\3", b"\0\0"), 0
    while at + 2 < len(data):
        kind = size = 0
        for is_size in (False, True):
            while at < len(data) and data[at] == 255:
                kind, size, at = kind + 255 * (not is_size), size + 255 * is_size, at + 1
            if at >= len(data):
                return None
            kind, size, at = kind + data[at] * (not is_size), size + data[at] * is_size, at + 1
        if kind == _RECOVERY_POINT:
            return _Bits(data[at : at + size]).golomb()
        at += size
    return None
