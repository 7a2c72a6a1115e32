"""What the index is asked for a question or a search: a caption, or the text itself. The preset says which (`index_queries`)."""

from typing import TYPE_CHECKING

from afterview.stream.ask.captions import Caption, caption_of

if TYPE_CHECKING:  # a preset is handed in: importing this module must not load torch
    from afterview.model.checkpoint.preset import ModelPreset


def index_query(preset: "ModelPreset", text: str, *, as_is: bool = False) -> Caption:
    """What the preset's index encoder is asked for a text. as_is: the text itself, whatever the preset says. Pure."""
    return caption_of(text) if preset.asks_captions and not as_is else Caption(text, "as given")


def provenance_of(preset: "ModelPreset", text: str, *, searched: bool) -> dict[str, object]:
    """What an answer says of it: what the index was asked, and how that came to be; null where the index was not asked."""
    query = index_query(preset, text.strip())
    return {"asked_index": query.text if searched else None, "asked_index_how": query.how if searched else None}
