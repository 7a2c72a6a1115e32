"""What a model server can do wrong, and what is said of it. For an asker with `LIMITS`."""

from typing import Any

from tests.support.model_server import Misdeeds

LIMITS: dict[str, Any] = {"connect_s": 1.0, "first_token_s": 0.4, "timeout_s": 3.0}

PAGE = b"<!DOCTYPE html><html><title>Router login</title></html>"
SSE = "text/event-stream"
_WORD = b'data: {"choices": [{"delta": {"content": "A bird"}}]}\n\n'
FAILURES = {
    "a page": (Misdeeds(body=PAGE, content_type="text/html"), "sends 'text/html' instead of a chat completion; check that the address"),
    "no type": (Misdeeds(body=b"{}", content_type=" "), "sends no content type instead"),
    "no JSON": (Misdeeds(body=b"Hello!"), "sends what is no JSON: 'Hello!'"),
    "other JSON": (Misdeeds(body=b'{"ok": true}'), "it has no choices"),
    "a list": (Misdeeds(body=b"[1]"), "sends JSON that is no chat completion"),
    "deep JSON": (Misdeeds(body=b"[" * 100_000), "sends what is no JSON"),
    "odd content": (Misdeeds(body=b'{"choices": [{"message": {"content": 5}}]}'), "its content is no text"),
    "an error in 200": (Misdeeds(body=b'{"error": {"message": "out of memory"}}'), "reports an error: 'out of memory'"),
    "a refusal": (Misdeeds(body=b'{"choices": [{"message": {"refusal": "I must not."}}]}'), "refuses to answer: 'I must not.'"),
    "a filter": (Misdeeds(pieces=[], finish="content_filter"), r"refuses to answer \(content_filter\)"),
    "nothing": (Misdeeds(pieces=[]), r"answered with no words \(finish_reason 'stop'\); raise max_tokens"),
    "only thoughts": (Misdeeds(pieces=["<think>hmm, ", "a bird?"], finish="length"), "ended without a word of answer"),
    "401": (Misdeeds(status=401, body=b'{"error": {"message": "bad"}}'), r"wants a key \(401: 'bad'\); set AFTERVIEW_ANSWER_KEY"),
    "404": (Misdeeds(status=404, body=PAGE), r"has nothing there or no model 'looker-7b' \(404: a web page\)"),
    "413": (Misdeeds(status=413), "takes no question of this size .*; lower frames or image_size"),
    "400": (Misdeeds(status=400, body=b'{"detail": "no images"}'), r"does not take the question \(400: 'no images'\); check"),
    "500": (Misdeeds(status=500, body=b"Traceback\x1b[2J\nboom"), r"failed \(500: 'Traceback\\x1b\[2J boom'\); see its log"),
    "a redirect": (Misdeeds(status=307, headers={"Location": "http://elsewhere.example/v1"}), "redirects to 'http://elsewhere.example/v1'"),
    "no head": (Misdeeds(stall_s=9.0), r"said nothing for [0-9.]+ s; see whether its model is loaded"),
    "a stall": (Misdeeds(pieces=["A ", "bird ", "is"], stall_after=2), "stopped in the middle: it said nothing for [0-9.]+ s"),
    "comments": (Misdeeds(comments_only=True), "said no word for [0-9.]+ s"),
    "a death": (Misdeeds(pieces=["A ", "bird ", "is"], die_after=2), "broke off in the middle, after 7 characters .* is no answer"),
    "no end": (Misdeeds(pieces=["A bird"], finish=None, done=False), "broke off in the middle"),
    "broken events": (Misdeeds(raw=[_WORD, b"data: {broken\n\n"]), "'{broken'; .*; what it said before is no answer"),
    "no events": (Misdeeds(raw=[PAGE + b"\n\n"]), "breaks the protocol of server-sent events"),
    "an error event": (Misdeeds(raw=[_WORD, b'data: {"error": {"message": "CUDA error"}}\n\n']), "reports an error: 'CUDA error'"),
    "an endless line": (Misdeeds(raw=[b"data: " + b"x" * 600_000]), "sends an event without an end"),
    "a lie": (Misdeeds(whole=True, lie_about_length=50), "broke off the connection"),
    "compressed": (Misdeeds(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "compressed"),
    "a bomb": (Misdeeds(flood=b"\x00" * 65536, content_type="application/json", headers={"Content-Encoding": "gzip"}), "compressed"),
    "a bomb in an error": (Misdeeds(flood=b"\x1f\x8b" * 4096, status=500, headers={"Content-Encoding": "gzip"}), r"failed \(500: '"),
    "a flood of words": (Misdeeds(flood=b"y" * 65536), "sends an event without an end"),
    "a flood of comments": (Misdeeds(flood=b": ping\n\n" * 8192), "sends more than 4 MB|said no word for [0-9.]+ s"),
    "a flood of JSON": (Misdeeds(flood=b'{"a": 1},' * 8192, content_type="application/json"), "sends more than 4 MB"),
    "a flood in an error": (Misdeeds(flood=PAGE * 1000, status=404), "404: a web page"),
    "a flood of head": (Misdeeds(verbatim=b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 50_000), "broke off the connection"),
    "a byte at a time": (Misdeeds(trickle_s=0.1), "said no word for [0-9.]+ s|stopped in the middle"),
    "broken letters": (Misdeeds(raw=[b'data: {"choices": [{"delta": {"content": "\xff\xfe\xc3"}}]}\n\n']), "sends what is no JSON"),
    "broken letters, whole": (Misdeeds(body=b'\xff{"choices": 1}'), "sends what is no JSON"),
    "too little": (Misdeeds(verbatim=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n"
                            b'{"choices": []}'), "sends what is no JSON: '{\"c'"),
    "two lengths": (Misdeeds(verbatim=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc"), "broke off the connection"),
    "broken chunks": (Misdeeds(verbatim=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab"),
                      "broke off the connection"),
    "no HTTP": (Misdeeds(verbatim=b"\x16\x03\x01\x00\xa5 what?"), "broke off the connection"),
    "a redirect to itself": (Misdeeds(status=302, headers={"Location": "/v1/chat/completions"}), "redirects to '/v1/chat/completions'"),
    "no content": (Misdeeds(status=204), r"does not take the question \(204: no reason given\)"),
    "busy for ages": (Misdeeds(busy=[(429, "99999999999999999999")]), "asks to wait 86400 s"),
    "busy for infinity": (Misdeeds(busy=[(429, "1e999")]), "asks to wait 86400 s"),
    "busy for ever": (Misdeeds(busy=[(429, "60")]), r"is busy \(429: 'too many requests'\), and asks to wait 60 s"),
    "busy, odd date": (Misdeeds(busy=[(503, "Fri, 31 Dec 9999 23:59:59 GMT")]), "asks to wait 86400 s"),
}  # fmt: skip
