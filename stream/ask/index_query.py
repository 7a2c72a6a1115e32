"""What the index is asked for a question or a search: a caption, or the text itself. The preset says which (`index_queries`)."""

from typing import TYPE_CHECKING

from afterview.stream.ask.caption import Caption

if TYPE_CHECKING:  # a preset is handed in: importing this module must not load torch
    from afterview.model.checkpoint.preset import ModelPreset


def index_query(preset: "ModelPreset", text: str, *, as_is: bool = False) -> Caption:
    """What the preset's index encoder is asked for a text. as_is: the text itself, whatever the preset says. Pure."""
    if as_is or not preset.asks_captions:
        return Caption(text, "as given")
    from afterview.stream.ask.captions import (
        caption_of,  # late: its patterns take 25 ms to compile, which others need not wait for
    )

    return caption_of(text)


def provenance_of(preset: "ModelPreset", text: str, *, searched: bool) -> dict[str, object]:
    """What an answer says of it: what the index was asked, and how that came to be; null where the index was not asked."""
    query = index_query(preset, text.strip())
    return {"asked_index": query.text if searched else None, "asked_index_how": query.how if searched else None}
