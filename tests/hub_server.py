"""A server that speaks as much of the Hub's protocol as the real client uses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN, REPO = "hf_madeUpForTheseTests", "me/ratings"
VOICE, OTHER = b"fLaC the voice of Ada", b"fLaC another voice"


@dataclass
class Hub:
    """One repository with its whole history, in memory. ``large``: endings that are stored apart from git, by hash."""

    large: tuple[str, ...] = (".flac",)
    exists: bool = False
    private: bool = True
    created: dict = field(default_factory=dict)
    commits: list = field(default_factory=list)  # (id, title, {path: ("git" or "large", content or its SHA-256)})
    objects: dict[str, bytes] = field(default_factory=dict)
    sent: list[list[str]] = field(default_factory=list)  # paths added or deleted, by commit
    refuse: str = ""  # a part of the address: what has it is answered with 500
    address: str = ""

    @property
    def files(self) -> dict[str, tuple[str, bytes]]:
        return self.commits[-1][2]

    def content(self, path: str) -> bytes:
        kind, held = self.files[path]
        return self.objects[held.decode()] if kind == "large" else held

    def everything(self) -> bytes:
        """All that the Hub keeps, past versions too."""
        past = b"".join(held for _, _, files in self.commits for _, held in files.values())
        return past + b"".join(self.objects.values())

    def logs(self) -> bytes:
        return b"".join(self.content(path) for path in sorted(self.files) if path.startswith("log/"))

    def commit(self, title: str, files: dict) -> str:
        self.commits.append((os.urandom(20).hex(), title, files))
        return self.commits[-1][0]

    def create(self, private: bool = True) -> None:
        self.exists, self.private = True, private
        self.commit("initial commit", {".gitattributes": ("git", b"*.flac filter=lfs\n")})

    # -- the protocol: (method, pattern of the path) → answer

    def post_create(self, request: dict) -> tuple[int, object]:
        if self.exists:
            return 409, {"error": "exists"}
        self.created = request
        self.create(private=request.get("visibility") == "private" or request.get("private") is True)
        return 200, {"url": f"{self.address}/datasets/{REPO}"}

    def get_info(self, _: object = None) -> tuple[int, object]:
        return 200, {"id": REPO, "sha": self.commits[-1][0], "private": self.private}

    def get_tree(self, revision: str) -> tuple[int, object]:
        return 200, [self._entry(path, *held) for path, held in self._at(revision).items()]

    def _at(self, revision: str) -> dict:
        return next(files for commit, _, files in self.commits if revision in (commit, "main"))

    def _entry(self, path: str, kind: str, held: bytes) -> dict:
        entry = {"type": "file", "path": path, "oid": git_id(held), "size": len(held)}
        if kind == "large":
            size = len(self.objects[held.decode()])
            entry |= {"size": size, "lfs": {"oid": held.decode(), "size": size, "pointerSize": 127}}
        return entry

    def post_preupload(self, request: dict) -> tuple[int, object]:
        modes = [
            {
                "path": one["path"],
                "shouldIgnore": False,
                "uploadMode": "lfs" if one["path"].endswith(self.large) else "regular",
            }
            for one in request["files"]
        ]
        return 200, {"files": modes}

    def post_batch(self, request: dict) -> tuple[int, object]:
        return 200, {
            "objects": [
                {"oid": one["oid"], "size": one["size"]}
                | (
                    {}
                    if one["oid"] in self.objects
                    else {"actions": {"upload": {"href": f"{self.address}/store/{one['oid']}"}}}
                )
                for one in request["objects"]
            ]
        }

    def post_commit(self, lines: list[dict]) -> tuple[int, object]:
        head, *operations = lines
        if head["value"].get("parentCommit", self.commits[-1][0]) != self.commits[-1][0]:
            return 412, {"error": "the branch has moved"}
        files = dict(self.files)
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = ("git", base64.b64decode(value["content"]))
                case "lfsFile":
                    assert value["oid"] in self.objects
                    files[value["path"]] = ("large", value["oid"].encode())
                case "deletedFile":
                    del files[value["path"]]
        self.sent.append([operation["value"]["path"] for operation in operations])
        commit = self.commit(head["value"]["summary"], files)
        return 200, {"commitUrl": f"{self.address}/datasets/{REPO}/commit/{commit}", "commitOid": commit}

    def post_squash(self, _: object) -> tuple[int, object]:
        files = self.files
        self.commits.clear()
        self.commit("squashed", files)
        return 200, {}

    def get_large(self, _: object = None) -> tuple[int, object]:
        paths = {
            held.decode(): path
            for _, _, files in self.commits
            for path, (kind, held) in files.items()
            if kind == "large"
        }
        return 200, [
            {
                "fileOid": sha,
                "filename": paths.get(sha, f"audio/{sha[:2]}/{sha}.flac"),
                "oid": sha,
                "size": len(data),
                "pushedAt": "2026-01-01T00:00:00.000Z",
            }
            for sha, data in self.objects.items()
        ]

    def post_delete_large(self, request: dict) -> tuple[int, object]:
        for sha in request["deletions"]["sha"]:
            del self.objects[sha]
        return 200, {}


ROUTES = {
    ("POST", "/api/repos/create"): Hub.post_create,
    ("POST", "/api/validate-yaml"): lambda _, request: (200, {}),
    ("GET", f"/api/datasets/{REPO}"): Hub.get_info,
    ("GET", f"/api/datasets/{REPO}/tree/([^/]+)"): Hub.get_tree,
    ("POST", f"/api/datasets/{REPO}/preupload/main"): Hub.post_preupload,
    ("POST", f"/datasets/{REPO}.git/info/lfs/objects/batch"): Hub.post_batch,
    ("POST", f"/api/datasets/{REPO}/commit/main"): Hub.post_commit,
    ("POST", f"/api/datasets/{REPO}/super-squash/main"): Hub.post_squash,
    ("GET", f"/api/datasets/{REPO}/lfs-files"): Hub.get_large,
    ("POST", f"/api/datasets/{REPO}/lfs-files/batch"): Hub.post_delete_large,
}


def handler(server: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: the client's delayed ACK would cost 40 ms a request

        def answer(self) -> None:
            path, body = unquote(urlsplit(self.path).path), self.body()
            if self.command == "PUT":  # the store of large files has signed addresses, so no token
                server.objects[hashlib.sha256(body).hexdigest()] = body
                return self.tell(200, b"")
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                return self.tell(401, b'{"error": "Invalid credentials"}')
            if server.refuse and server.refuse in path:
                return self.tell(500, b"{}")
            if not server.exists and REPO in path:
                return self.tell(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if found := re.fullmatch(f"/datasets/{REPO}/resolve/([^/]+)/(.+)", path):
                return self.download(*found.groups())
            for (method, pattern), route in ROUTES.items():
                if method == self.command and (found := re.fullmatch(pattern, path)):
                    request = (
                        [json.loads(line) for line in body.splitlines()]
                        if "/commit/" in path
                        else json.loads(body or b"{}")
                    )
                    status, reply = route(server, found[1] if found.groups() else request)
                    return self.tell(status, json.dumps(reply).encode())
            return self.tell(404, b"{}")

        def body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def download(self, revision: str, path: str) -> None:
            kind, held = server._at(revision)[path]
            data = server.objects[held.decode()] if kind == "large" else held
            self.tell(
                200,
                data,
                {"ETag": f'"{held.decode() if kind == "large" else git_id(held)}"', "X-Repo-Commit": revision},
            )

        def tell(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def serving(found: Hub):
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    found.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    http.shutdown()
    thread.join()
    http.server_close()
