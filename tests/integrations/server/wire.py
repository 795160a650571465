"""A client with little work of its own, so that a crowd of them leaves the processor to the server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of a server.

    Attributes:
        status: of HTTP.
        headers: by their names in lower case.
        content: what came.
    """

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """Return what came, parsed."""
        return json.loads(self.content)


class Connection:
    """A connection to a server at an address, for one request after the other."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __aenter__(self) -> Connection:
        parts = urlsplit(self.address)
        self._reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, body: bytes, path: str = "/v1/embeddings") -> Answer:
        """Send a request, and return its answer."""
        self.send(body, path)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        content = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(status=int(head[0].split()[1]), headers=headers, content=content)

    def send(self, body: bytes, path: str = "/v1/embeddings") -> None:
        """Send a request."""
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: server\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode())
        self._writer.write(body)
