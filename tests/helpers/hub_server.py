"""A small server that speaks as much of the Hugging Face hub's API as fetching takes."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

LFS_FROM = 2000  # bytes; larger files are served as the hub serves its large ones


class HubServer:
    """Serves one data set, or with `kind="models"` one model.

    Attributes:
        files: name to content.
        cut: names whose next download breaks off half-way.
        damage: name to how many of its next downloads have a wrong byte.
        silent: answer nothing at all, as a firewall that drops packets does.
        requests: (method, path, Range header) of what was asked.
    """

    def __init__(self, repo_id: str, files: dict[str, bytes], kind: str = "datasets"):
        self.repo_id, self.files, self.kind = repo_id, files, kind
        self.cut: set[str] = set()
        self.damage: dict[str, int] = {}
        self.silent = False
        self.closed = False
        self.requests: list[tuple[str, str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def commit(self) -> str:
        names = json.dumps({n: hashlib.sha1(d).hexdigest() for n, d in self.files.items()})
        return hashlib.sha1(names.encode()).hexdigest()

    def close(self) -> None:
        self.closed = True  # connections that are kept alive end as well
        self._server.shutdown()
        self._server.server_close()

    def downloads(self, name: str) -> list[str | None]:
        """Return the Range headers with which a file was asked for."""
        return [r for m, path, r in self.requests if m == "GET" and path.endswith("/" + name)]

    def siblings(self) -> list[dict]:
        found = []
        for name, data in self.files.items():
            entry = {"rfilename": name, "size": len(data), "blobId": git_sha(data)}
            if len(data) >= LFS_FROM:
                sha = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
            found.append(entry)
        return found

    def _handler(server):  # noqa: N805 - the handler's own self is the request
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body):
                path = unquote(urlparse(self.path).path)
                server.requests.append((self.command, path, self.headers.get("Range")))
                if server.closed:
                    self.close_connection = True
                    return
                if server.silent:
                    time.sleep(60)
                    return
                api = f"/api/{server.kind}/{server.repo_id}"
                where = f"/{server.kind}/{server.repo_id}".removeprefix("/models")
                resolve = f"{where}/resolve/{server.commit}/"
                path = path.replace("/resolve/main/", f"/resolve/{server.commit}/")
                if path in (api, f"{api}/revision/{server.commit}", f"{api}/revision/main"):
                    self.send(200, json.dumps(server.info()).encode(), body, {})
                elif path.startswith(f"{api}/tree/"):
                    self.send(200, json.dumps(server.tree()).encode(), body, {})
                elif path.startswith(resolve) and path.removeprefix(resolve) in server.files:
                    self.send_file(path.removeprefix(resolve), body)
                else:
                    missing = {"X-Error-Code": "RepoNotFound"}
                    self.send(404, b'{"error": "Repository not found"}', body, missing)

            def send_file(self, name, body):
                data = server.files[name]
                headers = {"X-Repo-Commit": server.commit, "ETag": f'"{git_sha(data)}"'}
                if len(data) >= LFS_FROM:
                    headers["X-Linked-Etag"] = f'"{hashlib.sha256(data).hexdigest()}"'
                    headers["X-Linked-Size"] = str(len(data))
                if body and server.damage.get(name, 0):
                    server.damage[name] -= 1
                    data = data[:-1] + bytes([data[-1] ^ 255])
                status = 200
                if body and (asked := self.headers.get("Range")):
                    first = int(asked.removeprefix("bytes=").split("-")[0])
                    headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
                    data, status = data[first:], 206
                if body and name in server.cut:
                    server.cut.discard(name)
                    self.send(status, data, False, headers)
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                    return
                self.send(status, data, body, headers)

            def send(self, status, data, body, headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

        return Handler

    def info(self) -> dict:
        return {
            "_id": "1",
            "id": self.repo_id,
            "sha": self.commit,
            "siblings": self.siblings(),
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    def tree(self) -> list[dict]:
        return [
            {
                "type": "file",
                "path": entry["rfilename"],
                "size": entry["size"],
                "oid": entry["blobId"],
                **(
                    {"lfs": {**entry["lfs"], "oid": entry["lfs"]["sha256"]}}
                    if "lfs" in entry
                    else {}
                ),
            }
            for entry in self.siblings()
        ]


def git_sha(data: bytes) -> str:
    """Return git's own checksum of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
