"""Finds media that an annotation names and that would not be read. Pure.

Read are `video`, one name, and `image`, one name or a list. Everything else that may be media is a problem: an item that is trained as text
alone although somebody gave it a video costs weeks.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from afterview.configs import kind_of
from afterview.model.language.conversation import IMAGE_TAG, VIDEO_TAG

_READ: Final = frozenset({"video", "image", "conversations", "data_source", "id"})
_WORDS: Final = re.compile(
    r"(?i)(^|[^a-z])(videos?|images?|imgs?|vids?|pics?|pictures?|photos?|frames?|clips?|media|audios?|sounds?|visuals?)([^a-z]|$)"
)
_IGNORE: Final = "list it in the stream's `ignored_keys` if it is not meant to be seen"
_FILES: Final = re.compile(
    r"(?i)\.(mp4|m4v|mkv|webm|avi|mov|flv|wmv|mpe?g|m2v|m?2?ts|mts|vob|ogv|rmvb?|asf|3gp|gif|jpe?g|png|bmp|webp|avif|jp2|exr|tiff?|hei[cf]|"
    r"npy|npz|pth?|h5|hdf5|safetensors|wav|mp3|flac|ogg|m4a|aac)$"
)
_PART: Final = re.compile(
    r"(?i)(clip|video|segment)?_?(start|begin|end|stop)_?(times?|s|secs?|seconds?|ts|timestamps?|frames?|offset)?"
)
# Tags of other templates, and misspelt ones. Not those of HTML, which have attributes.
_OTHER_TAG: Final = re.compile(
    r"(?i)<\s*(image|video)s?[ _-]?\d*\s*>|<\|(image|video|vision)[^|<>\n]*\|>|<(image|video)_(pad|token)>"
)


def media_problem(value: Any, ignored_keys: Iterable[str] = ()) -> str | None:
    """Why the media of an item, as it stands in the file, would not all be read; None if they are. Tags are not looked at, except where the
    item has no media at all."""
    if not isinstance(value, dict):
        return None  # not an annotation: the schema says so
    if why := _wrong(value):
        return why
    has = [key for key in ("video", "image") if value.get(key) is not None]
    if len(has) == 2:
        return "has both a video and an image; a sample is about one of them"
    for key in value:
        if key in _READ or key in ignored_keys:
            continue
        if files := [text for text in _texts(value[key]) if _FILES.search(text)]:
            meant = _meant(key) or "; only 'video' (one name) and 'image' (a name or a list of names) are read."
            return f"unknown key '{key}'{meant} It names media ('{files[0]}'); {_IGNORE}"
        given = isinstance(value[key], str | list | dict) and bool(value[key])
        if has:  # numbers and names beside it are details, unless the key is a mistyped one
            given = given and bool(_near(key))
        if given and (meant := _meant(key)):
            return f"unknown key '{key}'{meant} {_IGNORE[0].upper()}{_IGNORE[1:]}"
        if (
            "video" in has
            and _PART.fullmatch(str(key))
            and isinstance(value[key], int | float | str)
            and value[key] != ""
        ):
            return f"unknown key '{key}': the whole video would be seen, not a part of it; cut it before, or {_IGNORE}"
    if why := _in_turns(value, ignored_keys):
        return why
    if not has and (tag := _tag(value)):
        return f"a question holds {tag}, but there is neither a key 'video' nor a key 'image'"
    return None


def unread_keys(value: Any) -> list[str]:
    """Keys of an item that have no meaning here."""
    return [key for key in value if key not in _READ] if isinstance(value, dict) else []


def _in_turns(value: dict[str, Any], ignored_keys: Iterable[str]) -> str | None:
    """Media that stand in the turns of the conversation, where nothing reads them."""
    turns = value.get("conversations")
    for turn in turns if isinstance(turns, list) else []:
        for key in turn if isinstance(turn, dict) else ():
            if key in ("from", "role", *ignored_keys) or (key == "value" and isinstance(turn[key], str)):
                continue
            named = _parts(turn[key]) if key in ("value", "content") else bool(turn[key]) and bool(_meant(key))
            if named or any(_FILES.search(text) for text in _texts(turn[key]) if key not in ("value", "content")):
                return (
                    f"a turn names media under '{key}'; only 'video' and 'image' of the item itself are read; {_IGNORE}"
                )
    return None


def _parts(content: Any) -> bool:
    """Whether the parts of a turn, as chat templates have them, name media."""
    parts = content if isinstance(content, list) else [content]
    return any(isinstance(part, dict) and any(_meant(key) for key in (*part, part.get("type", ""))) for part in parts)


def _wrong(value: dict[str, Any]) -> str | None:
    """What is wrong with the values of `video` and `image`."""
    other = {"video": "image", "image": "video"}
    for key in ("video", "image"):
        if key not in value:
            continue
        named = value[key]
        if named is None or named in ("", []):
            if value.get(other[key]) in (None, "", []) or named is not None:
                shown = "null" if named is None else "empty"
                return f"{key}: is {shown}; expected {'a name' if key == 'video' else 'names'}; omit the key for a sample of text"
            continue  # null beside the other one, as tables are exported: nothing is left out
        names = named if key == "image" and isinstance(named, list) else [named]
        if not all(isinstance(name, str) for name in names):
            hint = "; a sample is about one video" if key == "video" and isinstance(named, list) else ""
            return (
                f"{key}: expected a name{' or a list of names' if key == 'image' else ''}, got {kind_of(named)}{hint}"
            )
        if not all(name.strip() for name in names):
            return f"{key}: expected names, one is empty; omit the key for a sample of text"
    return None


def _texts(value: Any) -> Iterator[str]:
    """Texts in a value, a list of values, or a mapping of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _meant(key: object) -> str:
    """`; did you mean 'video'?` for a name that is like one of a medium, else empty."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(key))  # imagePath
    if near := _near(key):
        return f"; did you mean '{near}'?"
    if not _WORDS.search(text):
        return ""
    return "; did you mean 'video'?" if re.search(r"(?i)vid|clip", text) else "; did you mean 'video' or 'image'?"


def _near(key: object) -> str:
    """The key that somebody may have mistyped; empty if it is unlike both."""
    return next(iter(difflib.get_close_matches(str(key).lower(), ("video", "image"), n=1, cutoff=0.8)), "")


def _tag(value: dict[str, Any]) -> str | None:
    turns = value.get("conversations")
    asked = (
        [turn.get("value") for turn in turns if isinstance(turn, dict) and turn.get("from") != "gpt"]
        if isinstance(turns, list)
        else []
    )
    texts = [text for text in asked if isinstance(text, str)]
    other = next((found[0] for text in texts if (found := _OTHER_TAG.search(text))), None)
    return next((tag for tag in (IMAGE_TAG, VIDEO_TAG) if any(tag in text for text in texts)), other)
