"""A server on this machine that answers like the hub, as far as its client needs: enough to make the client raise its own
exceptions. HF_ENDPOINT points to it."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from hub_cache import commit_of, etag, is_large

FILE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
INFO = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")


class Hub(ThreadingHTTPServer):
    """Repositories {name: {revision: {path: content}}}; the attributes say what the server does wrong.

    tokens: those whose accounts have accepted the licence; None if nothing is gated. known: other valid tokens.
    """

    daemon_threads = True

    def __init__(self, repositories, tokens=None, known=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.tokens, self.known = repositories, tokens, known
        self.hangs = self.corrupts = self.breaks = False
        self.lacks = None
        self.asked, self.sent = [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub, address = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, address))
        if hub.hangs:
            time.sleep(20)
        if hub.breaks:
            return self.refuse(500, None, "Internal Error")
        asked = FILE.fullmatch(address) or INFO.fullmatch(address)
        revisions = hub.repositories.get(asked["model"]) if asked else None
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if token and hub.tokens is not None and token not in (*hub.tokens, *hub.known):
            return self.refuse(401, None, "Invalid credentials in Authorization header")
        if revisions is None:  # the hub does not tell strangers which repositories exist
            return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if asked["revision"] not in revisions:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {asked['revision']}")
        files = {path: content for path, content in revisions[asked["revision"]].items() if path != hub.lacks}
        commit = commit_of(asked["revision"])
        if asked.re is INFO:
            return self.send(json.dumps(listing(asked["model"], commit, files)).encode(), {})
        if hub.tokens is not None and token not in hub.tokens:
            return self.refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted.")
        if asked["path"] not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        content = files[asked["path"]]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(asked["path"], content)}"'}
        if hub.corrupts and asked["path"].endswith(".safetensors"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.command == "GET":
            hub.sent.append(asked["path"])
        return self.send(content, headers)

    def send(self, content, headers, status=200):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, status, code, message):
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(json.dumps({"error": message}).encode(), headers, status)


def listing(model, commit, files):
    """What the hub says about a repository, with the sizes and checksums of its files."""
    siblings = []
    for path, content in files.items():
        siblings.append({"rfilename": path, "size": len(content), "blobId": "0" * 40})
        if is_large(path):
            siblings[-1]["lfs"] = {"size": len(content), "sha256": etag(path, content), "pointerSize": 134}
    return {"id": model, "modelId": model, "sha": commit, "siblings": siblings, "tags": [], "private": False}
