"""A stand-in of the Hub's API on this machine: enough of it for `create_repo` and `upload_folder`, and no more.

It is not the Hub: it keeps what is sent in memory, asks for no real token, and knows Git LFS uploads in one part alone.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class HubStandIn(ThreadingHTTPServer):
    """Use as a context manager; ``url`` is its address, ``files`` what was committed, ``repos`` what was made."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []

    def __enter__(self) -> HubStandIn:
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *parts: object) -> None:
        """Nothing on standard error."""

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        self.server.asked.append(path)
        if self.headers.get("authorization") != "Bearer hf_standin":
            self._answer({"error": "Invalid credentials"}, 401)
        elif path == "/api/repos/create":
            made = json.loads(body)
            self.server.repos.append(made)
            self._answer({"url": f"{self.server.url}/{made['organization']}/{made['name']}"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = {f["path"]: "lfs" if f["path"].endswith(".safetensors") else "regular" for f in files}
            self._answer({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]})
        elif path.endswith("/info/lfs/objects/batch"):
            self._answer({"transfer": "basic", "objects": [self._wanted(o) for o in json.loads(body)["objects"]]})
        elif "/commit/" in path:
            for line in body.splitlines():
                self._commit(json.loads(line))
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            self._answer({"commitUrl": f"{self.server.url}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40})
        else:
            self._answer({"error": f"the stand-in does not know {path}"}, 404)

    def do_PUT(self) -> None:
        self.server.blobs[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._answer({"error": f"the stand-in does not know {self.path}"}, 404)

    def _wanted(self, item: dict) -> dict:
        upload = {"href": f"{self.server.url}/blobs/{item['oid']}", "header": {}}
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": upload}}

    def _commit(self, operation: dict) -> None:
        value = operation["value"]
        if operation["key"] == "file":
            self.server.files[value["path"]] = base64.b64decode(value["content"])
        elif operation["key"] == "lfsFile":
            self.server.files[value["path"]] = self.server.blobs[value["oid"]]

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: dict, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
