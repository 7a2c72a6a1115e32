"""The things of the world, and the words for them.

Geometry is in shares of the frame (x of its width, y of its height), so the world looks the same at any resolution.
Sizes suit a model that sees 64x64 pixels: the smallest object is then 11x20 pixels, a letter of a word about 10x16.
"""

from typing import Final, Literal

Split = Literal["test", "validation", "train"]
Kind = Literal["object", "digit", "word"]

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 32, 38),
    "orange": (245, 128, 18),
    "yellow": (252, 220, 42),
    "green": (32, 158, 66),
    "blue": (30, 84, 220),
    "purple": (142, 44, 190),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES: Final[dict[str, float]] = {"small": 0.33, "big": 0.50}  # diameter as a share of the frame's height
PLACES: Final[dict[str, tuple[float, float]]] = {
    "top left": (0.21, 0.28),
    "top right": (0.79, 0.28),
    "bottom left": (0.21, 0.72),
    "bottom right": (0.79, 0.72),
    "middle": (0.50, 0.50),
}
# Largest offset of an object from its place. At the big size it is still inside the frame.
JITTER: Final = (0.03, 0.015)
MOTIONS: Final[dict[str, tuple[tuple[float, float], tuple[float, float]]]] = {  # start and end
    "left": ((0.82, 0.50), (0.18, 0.50)),
    "right": ((0.18, 0.50), (0.82, 0.50)),
    "up": ((0.50, 0.72), (0.50, 0.28)),
    "down": ((0.50, 0.28), (0.50, 0.72)),
}
STILL: Final = "still"
Side = Literal["left", "right", "top", "bottom"]
COVERS: Final[dict[str, tuple[Side, ...]]] = {  # covers, and the sides of an object that each may hide
    "curtain": ("top",),
    "hedge": ("bottom",),
    "pillar": ("left", "right"),
}
SCENES: Final = ("beach", "city", "desert", "forest", "meadow", "mountains")
DIGITS: Final = tuple("0123456789")
WORDS: Final = ("BUS", "CAFE", "EXIT", "HELP", "MILK", "STOP", "TAXI", "ZOO")
ROWS: Final[dict[str, float]] = {"top": 0.21, "middle": 0.50, "bottom": 0.79}  # rows for banners with words
DIGIT_CARD: Final = (0.30, 0.52)  # width and height of a digit's card
WORD_BANNER: Final = (0.88, 0.38)

CAMERAS: Final = ("gate", "hall", "yard", "pier")  # names of the cameras that may share a story

# One shape of every colour is excluded from training, so that colour and shape are learned and not 36 pictures.
HELD_OUT_PAIRS: Final = frozenset((colour, SHAPES[(number + 2) % len(SHAPES)]) for number, colour in enumerate(COLOURS))

# Seeds that people type belong to the test split, so no number from a command line was ever trained on.
FIRST_VALIDATION_SEED: Final = 2**31
FIRST_TRAINING_SEED: Final = 2**32


def split_of(seed: int) -> Split:
    """The split of a seed: test below 2^31, validation below 2^32, train above."""
    if seed < FIRST_VALIDATION_SEED:
        return "test"
    return "validation" if seed < FIRST_TRAINING_SEED else "train"


def camera_number(camera: str | None) -> int:
    """0 for the only camera of a story, 1, 2, ... for cameras that share one."""
    return 0 if camera is None else 1 + CAMERAS.index(camera)


def article(noun: str) -> str:
    """`a red circle`, `an orange star`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def listing(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
