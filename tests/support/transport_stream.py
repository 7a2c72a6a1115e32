"""MPEG-TS put together from clips, as a camera sends it whose settings are changed while it runs."""

import io
from pathlib import Path

import av


def join_transport_streams(tmp_path: Path, *clips: Path) -> Path:
    """One MPEG-TS of several clips, one after the other, whose time goes on."""
    joined, offset = tmp_path / "joined.ts", 0.0
    with joined.open("wb") as file:
        for clip in clips:
            part = io.BytesIO()
            with (
                av.open(str(clip)) as source,
                av.open(part, "w", format="mpegts", options={"mpegts_copyts": "1"}) as target,
            ):
                origin = source.streams.video[0]
                stream, shift = target.add_stream_from_template(origin), round(offset / origin.time_base)
                for packet in source.demux(origin):
                    if packet.dts is not None:
                        packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                        target.mux(packet)
                offset += float(origin.duration * origin.time_base)
            file.write(part.getvalue())
    return joined
