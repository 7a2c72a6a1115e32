"""Fonts for pictures with text. Pillow's own font has little more than ASCII; other letters need a font of this machine."""

import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# File names that Pillow looks up in the font directories of the system; for machines without fontconfig.
_COMMON = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msgothic.ttc",
)
_NO_GLYPH = "\U0010ffff"  # no font has it: drawn as the box for unknown letters
_PATIENCE_S = 5.0  # for fontconfig, which may build its cache on its first call


class Fonts:
    """Chooses a font for each text. missing: letters that no font of this machine has, as far as texts were chosen for."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def choose(self, text: str, size: int) -> tuple[Font, str]:
        """A font for a text, and the text as that font can draw it. size: pixels.

        Letters that no font has lose their accents (u for ü); others become their code, such as <7384>.
        """
        text = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text)
        lacking = _lacking(_default(size), text)
        if not lacking:
            return _default(size), text
        font, lacking = _best(text, size)
        self.missing |= lacking
        return font, "".join(_instead(letter, font) if letter in lacking else letter for letter in text)

    def note(self) -> str:
        """What to say where letters were missing; empty if none were."""
        if not self.missing:
            return ""
        letters = "".join(sorted(self.missing))
        return (
            f"no font of this machine has {letters[:20]}{'...' if len(letters) > 20 else ''}: the picture shows other letters or codes "
            "instead; install fonts, such as fonts-dejavu-core or fonts-noto-cjk"
        )


@cache
def _default(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _best(text: str, size: int) -> tuple[Font, frozenset[str]]:
    """The font that lacks the fewest letters of a text, and those letters."""
    best, lacking = _default(size), _lacking(_default(size), text)
    for font in _candidates(lacking, size):
        fewer = _lacking(font, text)
        if len(fewer) < len(lacking):
            best, lacking = font, fewer
        if not lacking:
            break
    return best, lacking


def _candidates(letters: frozenset[str], size: int) -> Iterator[Font]:
    for name in _COMMON:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue
    if program := shutil.which("fc-match"):
        wanted = " ".join(f"{ord(letter):x}" for letter in sorted(letters))
        try:
            command = [program, "-f", "%{file}\t%{index}", f"sans:charset={wanted}"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout
            path, _, index = said.partition("\t")
            yield ImageFont.truetype(path, size, index=int(index or 0))
        except (OSError, ValueError, subprocess.SubprocessError):
            return


def _lacking(font: Font, text: str) -> frozenset[str]:
    return frozenset(letter for letter in set(text) if not letter.isspace() and not _has(font, letter))


def _has(font: Font, letter: str) -> bool:
    if letter.isascii() or unicodedata.category(letter) in ("Cf", "Mn"):  # no shape of their own
        return True
    unknown, mask = font.getmask(_NO_GLYPH), font.getmask(letter)
    return mask.size != unknown.size or bytes(mask) != bytes(unknown)


def _instead(letter: str, font: Font) -> str:
    plain = unicodedata.normalize("NFKD", letter)[0]
    return plain if plain != letter and _has(font, plain) else f"<{ord(letter):x}>"
