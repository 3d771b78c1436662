"""A stand-in for an OpenAI-compatible endpoint: real HTTP on 127.0.0.1, answers as a test tells it. It is no model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def completion(text: str | None = "4", *, model: str = "m", finish: str = "stop", choices: bool = True) -> Reply:
    """A well-formed answer of 10 + 5 tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    body = {
        "id": "c",
        "object": "chat.completion",
        "model": model,
        "choices": [choice] if choices else [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def failure(status: int, message: str = "no") -> Reply:
    """OpenAI's error body; the client is asked to try again at once."""
    headers = {"Content-Type": "application/json", "retry-after-ms": "1"}
    return status, headers, json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()


class StandIn:
    """Answers each request by `reply(body)`, and remembers what it was asked and how many were under way at once."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], Reply] = lambda body: completion()
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.delay = self.drip = 0.0
        self.most = self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, body: dict[str, Any], key: str | None) -> Reply:
        with self._lock:
            self.asked.append(body)
            self.keys.add(key)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            time.sleep(self.delay)
            return self.reply(body)
        finally:
            with self._lock:
                self._now -= 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, content = stand_in.answer(body, self.headers.get("Authorization"))
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                for byte in [content] if not stand_in.drip else [content[i : i + 1] for i in range(len(content))]:
                    self.wfile.write(byte)
                    self.wfile.flush()
                    time.sleep(stand_in.drip)
            except OSError:  # the client gave up, as some tests want it to
                pass

        def log_message(self, *_: object) -> None:
            pass

    return Handler
