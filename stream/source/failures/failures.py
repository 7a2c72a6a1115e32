"""Converts FFmpeg's errors to those of stream.errors: one redacted line that names the source and the remedy."""

import errno

import av

from afterview.stream.errors import (
    AuthenticationFailed,
    BadUrl,
    NotAVideo,
    SourceError,
    SourceLost,
    SourceNotFound,
    SourceTimeout,
    SourceUnreachable,
)
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.address.redact import redact
from afterview.stream.source.address.schemes import NO_SRT
from afterview.stream.source.failures.hls_answer import explain_hls
from afterview.stream.source.failures.refusals import explain_refusal, explain_silence
from afterview.stream.source.failures.unfinished import NEVER_FINISHED, was_never_finished

_REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
_UNSUPPORTED = (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError)


def explain_opening(
    error: Exception, address: SourceAddress, timeout_s: float, *, took_s: float, transport: str = "tcp"
) -> SourceError:
    """The error to raise for an error of PyAV while opening `address`. Keeps no reference to the original, which quotes the URL.

    took_s: how long opening took; over RTSP, FFmpeg reports a timeout as one of several other errors.
    """
    timed_out = isinstance(error, av.error.ExitError) or (address.live and took_s >= timeout_s)
    if address.kind == "hls" and (timed_out or isinstance(error, ValueError)) and (cause := explain_hls(address)):
        return cause
    if timed_out:
        if cause := explain_silence(address, transport):
            return cause
        return SourceTimeout(
            f"{address.redacted}: no answer within {timeout_s:g} s; check the address and that the camera is on"
        )
    if refusal := explain_refusal(error, address, transport):
        return refusal
    kind, text = _classify(error, address)
    return kind(f"{address.redacted}: {text}")


def explain_reading(error: Exception, address: SourceAddress, timeout_s: float) -> SourceError:
    """The same for an error in mid-stream."""
    if isinstance(error, av.error.ExitError):
        return nothing_came(address, timeout_s)
    cut = getattr(error, "errno", None) == errno.EIO
    return SourceLost(f"{address.redacted}: {'the connection was cut' if cut else f'reading failed: {_reason(error)}'}")


def nothing_came(address: SourceAddress, timeout_s: float) -> SourceTimeout:
    """No data within the read timeout."""
    hint = "; HLS with long segments needs a longer read timeout" if address.kind == "hls" else ""
    return SourceTimeout(f"{address.redacted}: no data for {timeout_s:g} s{hint}")


def no_picture(address: SourceAddress, timeout_s: float, came: str = "") -> SourceTimeout:
    """Data came, but no frame within the read timeout: the video stopped, or its codec changed. came: what did, for people."""
    return SourceTimeout(
        f"{address.redacted}: data, but no decodable frame for {timeout_s:g} s{f' ({came})' if came else ''}"
    )


def codec_changed(address: SourceAddress) -> SourceLost:
    """The packets of a live stream that gave pictures can no longer be decoded."""
    return SourceLost(f"{address.redacted}: its packets cannot be decoded any more; perhaps its codec changed")


def _classify(error: Exception, address: SourceAddress) -> tuple[type[SourceError], str]:
    if isinstance(error, _REFUSED):
        if "***" in address.redacted.partition("?")[2]:
            return (
                AuthenticationFailed,
                "the server refuses the token in the address; it may have expired: get a new address",
            )
        if "@" not in address.redacted:
            return (
                AuthenticationFailed,
                "the server asks for a password; put it into a variable and write user:{AFTERVIEW_PASSWORD}@ before the host",
            )
        return (
            AuthenticationFailed,
            "the server refused the user name or password (in the address itself their special characters must be percent-encoded, in a "
            "variable not)",
        )
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceNotFound, "the server has no such stream (404); check the path"
    if isinstance(error, FileNotFoundError):
        return SourceNotFound, "no such file or device"
    if isinstance(error, PermissionError) and address.kind == "device":
        return SourceNotFound, (
            "permission denied; the group 'video' may open cameras: run `sudo usermod -aG video $USER`, and log in again"
        )
    if isinstance(error, PermissionError) and address.kind == "file":
        return SourceNotFound, "permission denied"
    if isinstance(error, _UNSUPPORTED) and address.url.startswith("srt:"):
        return BadUrl, NO_SRT
    if isinstance(error, ValueError) and address.url.startswith("rtp:"):
        return (
            BadUrl,
            "RTP alone does not say what it carries; write the sender's description into a file, and watch that: camera.sdp",
        )
    if isinstance(error, _UNSUPPORTED):
        return BadUrl, "this build of FFmpeg cannot read such an address"
    if address.kind == "pattern":
        return BadUrl, f"FFmpeg does not accept this lavfi filter graph: {_reason(error)}"
    if address.kind == "device" and getattr(error, "errno", None) == errno.ENOTTY:
        return NotAVideo, "is not a camera; `ls /dev/video*` lists the cameras of this machine"
    if address.kind == "device" and getattr(error, "errno", None) == errno.EBUSY:
        return SourceUnreachable, f"another program uses the camera; `fuser -v {address.url}` names it"
    if address.kind == "device" and getattr(error, "errno", None) in (errno.ENODEV, errno.ENXIO, errno.EIO):
        return SourceUnreachable, "the camera does not answer; unplug it and plug it in again"
    if address.kind == "device":
        return SourceUnreachable, f"the device cannot be opened: {_reason(error)}"
    if isinstance(error, ValueError) and address.kind == "file" and was_never_finished(address.url):
        return NotAVideo, NEVER_FINISHED
    if isinstance(error, ValueError) and address.kind in ("file", "http", "hls"):  # InvalidDataError is a ValueError
        return NotAVideo, "not a video, or damaged from its beginning"
    return SourceUnreachable, f"cannot be reached: {_reason(error)}; check the host, the port and the network"


def _reason(error: Exception) -> str:
    """The system's error text in one line, without the address that PyAV appends to it."""
    if getattr(error, "errno", None) == errno.EIO:  # what FFmpeg says of an unknown host name, too
        return "the host name is unknown, or the connection failed"
    return redact(getattr(error, "strerror", None) or type(error).__name__).splitlines()[0]
