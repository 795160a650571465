"""The documents that both executors take and return, and what a request asks to do with them."""

# Without `from __future__ import annotations`: Jina reads the schemas of documents from annotations that are types.
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docarray import BaseDoc, DocList
from docarray.typing import AnyTensor, NdArray
from pydantic import Field

from clip_image_encoder import ConfigurationError
from clip_image_encoder.arguments import check_batch_size

__all__ = ["ClipChunk", "ClipDocument", "Paths", "defaults", "requested", "selected"]

Paths = str | Sequence[str]


class ClipChunk(BaseDoc):  # type: ignore[misc]
    """Document with an image or a text, as a part of a `ClipDocument`.

    The image is the first of `tensor`, `blob`, `bytes_`, `uri` and `url` that is set.

    Attributes:
        tensor: Image as an array `(H, W, C)` or `(C, H, W)`, uint8, or float in 0..1.
        blob: Content of an image file.
        bytes_: Content of an image file, under the name that docarray's ImageDoc has for it.
        uri: Path on the executor's machine, data: URI, or URL if the executor has `allow_urls=True`.
        url: Path, data: URI or URL, as in `uri`.
        text: Text for CLIPTextEncoder.
        embedding: Vector `(d,)` float32, set by the executors.
        tags: Values of any kind; "error" says why an image has no embedding.
    """

    tensor: AnyTensor | None = None
    blob: bytes | None = None
    bytes_: bytes | None = None
    uri: str | None = None
    url: str | None = None
    text: str | None = None
    embedding: NdArray | None = None
    tags: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults


class ClipDocument(ClipChunk):
    """Document that both executors take and return: an image or a text, with its chunks and matches.

    Attributes:
        chunks: Parts of the document, which the access path `@c` selects.
        matches: Search results for the document, which the access path `@m` selects.
    """

    # Lists, never None: a Flow of several executors fails to make the schema of an optional list for its clients.
    chunks: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])
    matches: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])


def defaults(batch_size: int | None, access_paths: Paths, overwrite_embeddings: bool) -> dict[str, Any]:
    """Return the values of the parameters that a request may set."""
    size = check_batch_size(batch_size)
    return {"batch_size": size, "access_paths": access_paths, "overwrite_embeddings": overwrite_embeddings}


def requested(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a request's parameters under their present names; it may have parameters for other executors, too."""
    given = dict(parameters or {})
    if "traversal_paths" in given:
        given.setdefault("access_paths", given["traversal_paths"])
    size = given.get("batch_size")
    if isinstance(size, float) and size.is_integer():  # protobuf's Struct turns all numbers into floats
        given["batch_size"] = int(size)
    return given


def selected(docs: Iterable[ClipDocument] | None, wanted: Mapping[str, Any]) -> list[ClipChunk]:
    """Return the documents that the access paths select and that need an embedding."""
    paths = wanted["access_paths"]
    parts = [part for path in ([paths] if isinstance(paths, str) else paths) for part in path.split(",")]
    names = [part.strip().removeprefix("@") for part in parts]
    if unknown := set(names) - {"r", "c", "m"}:
        raise ConfigurationError(f"access_paths must be of @r, @c and @m, not {', '.join(sorted(unknown))}")
    found: list[ClipChunk] = []
    for doc in docs or ():
        for name in dict.fromkeys(names):
            found.extend({"r": [doc], "c": doc.chunks, "m": doc.matches}[name])
    return [doc for doc in found if wanted["overwrite_embeddings"] or doc.embedding is None]
