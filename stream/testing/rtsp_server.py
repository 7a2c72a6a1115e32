"""An RTSP server on GStreamer that plays one recording to every client from its first frame, in real time.

A script, not a module of the package: GStreamer's Python bindings come from the operating system (Debian:
gir1.2-gst-rtsp-server-1.0, python3-gi), so `stream.testing.serve` runs this file with the system's own python3. It imports nothing of
this project. Standard input is the recording, as written by `stream.testing.serve.write_recording`:

    one JSON line   {"codec": "h264", "round_ns": length of one round}
    per packet      <QQI: presentation time from the first frame's and duration (nanoseconds), size; then `size` bytes, Annex B

Prints one JSON line {"url": ...} when it listens.

Threads: GLib's main loop owns the server; each client's `need-data` runs in that client's own GStreamer streaming thread and
touches only that client's `Feeder`.
"""

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

HEADER = struct.Struct("<QQI")
PAYLOADERS = {"h264": ("video/x-h264", "h264parse", "rtph264pay"), "hevc": ("video/x-h265", "h265parse", "rtph265pay")}
ROLE = "viewer"


class Packet(NamedTuple):
    """One access unit; times in nanoseconds, `pts` from the start of the recording."""

    pts: int
    duration: int
    data: bytes


def read_recording(file: BinaryIO) -> tuple[str, int, list[Packet]]:
    """The codec, the length of one round in nanoseconds, and the packets in decoding order."""
    about = json.loads(file.readline())
    packets = []
    while header := file.read(HEADER.size):
        pts, duration, size = HEADER.unpack(header)
        packets.append(Packet(pts, duration, file.read(size)))
    return about["codec"], about["round_ns"], packets


class Feeder:
    """Hands one client the packets, first to last, and round again when looping; times go on rising across rounds."""

    def __init__(self, packets: list[Packet], round_ns: int, loop: bool) -> None:
        self._ahead = self._rounds(packets, round_ns, loop)

    @staticmethod
    def _rounds(packets: list[Packet], round_ns: int, loop: bool) -> Iterator[tuple[Packet, int]]:
        offset = 0
        while True:
            for packet in packets:
                yield packet, offset
            if not loop:
                return
            offset += round_ns

    def need_data(self, source: Gst.Element, _length: int) -> None:
        """GStreamer asks for one more packet. The media is paced by its sink's clock, so this is called in real time."""
        packet, offset = next(self._ahead, (None, 0))
        if packet is None:
            source.emit("end-of-stream")
            return
        buffer = Gst.Buffer.new_wrapped(packet.data)
        buffer.pts, buffer.duration = packet.pts + offset, packet.duration
        source.emit("push-buffer", buffer)


def make_factory(codec: str, round_ns: int, packets: list[Packet], loop: bool) -> GstRtspServer.RTSPMediaFactory:
    """Media that is built anew for each client (never shared): every client starts at the first packet, a key frame."""
    caps, parser, payloader = PAYLOADERS[codec]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(False)
    factory.set_launch(
        f"( appsrc name=packets format=time max-bytes=1000000 caps={caps},stream-format=byte-stream,alignment=au"
        f" ! {parser} ! {payloader} name=pay0 pt=96 config-interval=0 )"
    )

    def configure(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        feeder = Feeder(packets, round_ns, loop)
        media.get_element().get_child_by_name("packets").connect("need-data", feeder.need_data)

    factory.connect("media-configure", configure)
    return factory


def require_password(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, word: str
) -> None:
    """Only `user` with `word` may play; digest authentication, as most cameras ask for."""
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, word, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(ROLE, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
    permissions.add_permission_for_role(ROLE, GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
    factory.set_permissions(permissions)


def elements() -> list[str]:
    """The GStreamer elements that serving needs."""
    return [element for _, parser, payloader in PAYLOADERS.values() for element in (parser, payloader)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Serves the recording on standard input over RTSP on 127.0.0.1.")
    parser.add_argument("--port", default="0")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument(
        "--check", action="store_true", help="say whether every part of GStreamer that this needs is installed"
    )
    arguments = parser.parse_args()

    Gst.init(None)
    missing = [name for name in ("appsrc", *elements()) if Gst.ElementFactory.find(name) is None]
    if missing:
        print(f"GStreamer lacks {', '.join(missing)}", file=sys.stderr)
    if missing or arguments.check:
        return 1 if missing else 0
    factory = make_factory(*read_recording(sys.stdin.buffer), loop=arguments.loop)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    if arguments.user is not None:
        require_password(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        print(f"port {arguments.port} cannot be bound: another program is listening there", file=sys.stderr)
        return 1
    print(json.dumps({"url": f"rtsp://127.0.0.1:{server.get_bound_port()}/live"}), flush=True)
    GLib.MainLoop().run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
