"""A Hugging Face hub on this machine: it answers what huggingface_hub asks, and notes every request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["FakeHub", "Repository"]

CONVERSION_BOT = "SFconvertbot"


class RefusalError(Exception):
    """A status other than success, with the header by which the hub says why."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


@dataclass
class Repository:
    """What the hub holds under one name.

    Attributes:
        revisions: the files of each branch and pull request.
        private_to: the token without which the repository doesn't seem to exist.
        gated_to: the token without which it can be seen but not read.
        conversion_by: author of the pull request `refs/pr/1`.
        conversion_status: whether that is open.
    """

    revisions: dict[str, dict[str, bytes]]
    private_to: str | None = None
    gated_to: str | None = None
    conversion_by: str = CONVERSION_BOT
    conversion_status: str = "open"

    def commit(self, reference: str) -> str:
        """Return the hash that a reference, or a hash itself, stands for."""
        commits = {name: _commit(files) for name, files in self.revisions.items()}
        if reference not in {*commits, *commits.values()}:
            raise RefusalError(404, "RevisionNotFound")
        return commits.get(reference, reference)

    def files(self, reference: str) -> dict[str, bytes]:
        """Return the files of a branch or a commit."""
        commit = self.commit(reference)
        return next(files for files in self.revisions.values() if _commit(files) == commit)


@dataclass
class FakeHub:
    """The server and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._answer(self)

            def do_HEAD(self) -> None:
                hub._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, name: str, folder: Path, *, revision: str = "main") -> Repository:
        """Put a folder's files, and those of folders below it, under a name, as a branch."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        repository = self.repositories.setdefault(name, Repository(revisions={}))
        repository.revisions[revision] = files
        return repository

    def close(self) -> None:
        """Shut down; from then on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{handler.command} {handler.path}")
        authorization = handler.headers.get("Authorization")
        token = None if authorization is None else authorization.removeprefix("Bearer ")
        self.tokens.append(token)
        url = urlsplit(handler.path)
        try:
            if url.path.startswith("/api/models/"):
                body = self._api(url.path.removeprefix("/api/models/"), parse_qs(url.query), token)
                headers = {"Content-Type": "application/json"}
            else:
                body, headers = self._file(url.path, token)
            status = 200
        except RefusalError as refusal:
            status, body = refusal.status, b""
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        handler.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            if value:
                handler.send_header(key, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    def _api(self, path: str, query: dict[str, list[str]], token: str | None) -> bytes:
        name, kind, reference = _split(path, ("revision", "tree", "discussions"))
        repository = self._repository(name, token)
        if kind == "discussions":
            return json.dumps(_discussions(name, repository, query)).encode()
        files = repository.files(reference or "main")
        if kind == "tree":
            tree = [
                {"type": "file", "path": path, "size": len(data), "oid": _etag(data)} for path, data in files.items()
            ]
            return json.dumps(tree).encode()
        siblings = [{"rfilename": filename} for filename in files]
        commit = repository.commit(reference or "main")
        return json.dumps({"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []}).encode()

    def _file(self, path: str, token: str | None) -> tuple[bytes, dict[str, str]]:
        name, _, rest = _split(path.removeprefix("/"), ("resolve",))
        repository = self._repository(name, token)
        if repository.gated_to not in (None, token):
            raise RefusalError(403 if token else 401, "GatedRepo")
        reference, _, filename = rest.partition("/")
        reference = unquote(reference)
        files = repository.files(reference)
        if filename not in files:
            raise RefusalError(404, "EntryNotFound")
        headers = {"X-Repo-Commit": repository.commit(reference), "ETag": f'"{_etag(files[filename])}"'}
        return files[filename], headers

    def _repository(self, name: str, token: str | None) -> Repository:
        repository = self.repositories.get(name)
        known = {held for each in self.repositories.values() for held in (each.private_to, each.gated_to)}
        if token == "not-a-token":  # noqa: S105 - made up
            raise RefusalError(401, message="Invalid credentials in Authorization header")
        if repository is None or repository.private_to not in (None, token):
            raise RefusalError(404 if token in known - {None} else 401, "RepoNotFound")
        return repository


def _split(path: str, kinds: tuple[str, ...]) -> tuple[str, str, str]:
    """Return `owner/name`, the kind of thing asked about it, and the rest."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if part in kinds:
            rest = "/".join(parts[place + 1 :])
            return "/".join(parts[:place]), part, rest if part == "resolve" else unquote(rest)
    return path, "", ""


def _discussions(name: str, repository: Repository, query: dict[str, list[str]]) -> dict[str, object]:
    pulls = [
        {
            "num": 1,
            "title": "Adding `safetensors` variant of this model",
            "author": {"name": repository.conversion_by},
            "createdAt": "2023-01-01T00:00:00.000Z",
            "status": repository.conversion_status,
            "repo": {"name": name, "type": "model"},
            "isPullRequest": True,
        }
        for reference in repository.revisions
        if reference == "refs/pr/1" and query.get("author", [repository.conversion_by]) == [repository.conversion_by]
    ]
    return {"discussions": pulls, "count": len(pulls), "start": 0}


def _commit(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()[:40]


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]
