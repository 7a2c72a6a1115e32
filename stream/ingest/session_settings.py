"""What a recording notes in its camera's settings, with its first durable frame. Pure."""

from afterview.memory.base.settings import CameraSettings
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.short_recording import ShortRecording


def with_session(
    settings: CameraSettings,
    config: IngestConfig,
    *,
    first_time: float,
    last_before: float | None,
    short: ShortRecording | None = None,
) -> CameraSettings:
    """The settings with the size of images that was asked for, and with the spans whose sampling follows key frames.

    first_time: of this recording's first frame. last_before: of the frame before it. Unix seconds.
    short: the source, if it is sampled as a short recording.
    """
    spans, follows = settings.key_frames, config.source.decode == "keyframes"
    lasts = bool(spans) and spans[-1][1] is None
    if follows and not lasts:
        spans = (*spans, (first_time, None))
    elif lasts and not follows:
        spans = (*spans[:-1], (spans[-1][0], last_before))
    dense = settings.dense
    if short is not None:
        dense = (*dense, (first_time, first_time + short.times[-1], short.last_s))
    return settings.changed(image_size=config.image_size or settings.image_size, key_frames=spans, dense=dense)
