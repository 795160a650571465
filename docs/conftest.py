"""Every Python block of the pages runs, from top to bottom, in a folder of its own with a few images in it.

Where a line says `print(...)  # text`, that text must be what is printed. A block that starts with a file's name, as
in `# name.py`, is saved there before it runs, as a reader would do.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec
from io import StringIO
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from clip_image_encoder.tiny_shapes.draw import draw, random_scene

# As in tests/conftest.py: torch's threads don't keep their cores while they wait for each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A page runs where what it is about is installed: in the nox session of its tests.
_NEEDS = {
    "how-to/serve.md": "fastapi",
    "how-to/videos-and-pages.md": "av",
    "integrations/chroma.md": "chromadb",
    "integrations/daft.md": "daft",
    "integrations/datasets.md": "datasets",
    "integrations/duckdb.md": "duckdb_extensions",
    "integrations/elasticsearch.md": "elasticsearch",
    "integrations/faiss.md": "faiss",
    "integrations/fiftyone.md": "fiftyone",
    "integrations/haystack.md": "haystack",
    "integrations/lancedb.md": "lancedb",
    "integrations/langchain.md": "langchain_chroma",
    "integrations/llama_index.md": "llama_index",
    "integrations/milvus.md": "pymilvus",
    "integrations/mteb.md": "mteb",
    "integrations/postgres.md": "pgserver",
    "integrations/qdrant.md": "qdrant_client",
    "integrations/ray.md": "ray",
    "integrations/sklearn.md": "sklearn",
}

collect_ignore = [page for page, package in _NEEDS.items() if find_spec(package) is None]
# Its YAML has to be saved first, and then served: tests/integrations/jina does both.
collect_ignore += ["integrations/jina.md"]
# Programs, and the pages of the notebooks, whose code runs when they are made.
collect_ignore_glob = ["*.py", "notebooks/*"]

_PROMISE = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")
_START = "the folder where it started, and what it changed"


class Promises(PythonEvaluator):
    """Runs a block, and compares what it prints with what it says that it prints."""

    def __call__(self, example: Example) -> None:
        """Run it.

        Raises:
            AssertionError: it prints something else.
        """
        if file := _FILE.match(example.parsed):
            Path(file[1]).write_text(example.parsed, "utf-8")
        with redirect_stdout(StringIO()) as printed:
            super().__call__(example)
        for promised in _PROMISE.findall(example.parsed):
            assert promised in printed.getvalue(), f"{promised} is not printed, but {printed.getvalue()}"


@cache
def _pictures() -> tuple[tuple[str, Any], ...]:
    generator = np.random.default_rng(1)
    pairs = product(("red", "green", "yellow", "blue", "orange", "purple"), ("circle", "star", "heart", "ring"))
    return tuple(
        (f"{color}-{shape}.png", draw(random_scene(generator, color=color, shape=shape))) for color, shape in pairs
    )


def _enter(namespace: dict[str, Any]) -> None:
    """Start a page in a new folder with `photos/` in it, as a module, since classes pickle by their module's name."""
    folder = tempfile.TemporaryDirectory()
    namespace[_START] = (Path.cwd(), folder, list(sys.path))
    os.chdir(folder.name)
    tempfile.tempdir = folder.name
    Path("photos").mkdir()
    for name, picture in _pictures():
        picture.save(Path("photos", name))

    def find(name: str) -> Any:
        if name in namespace:
            return namespace[name]
        raise AttributeError(name)

    page = ModuleType("page")
    page.__dict__["__getattr__"] = find
    sys.modules["page"] = page
    namespace["__name__"] = "page"


def _leave(namespace: dict[str, Any]) -> None:
    start, folder, path = namespace[_START]
    os.chdir(start)
    tempfile.tempdir = None
    for file in Path(folder.name).glob("*.py"):
        sys.modules.pop(file.stem, None)
    folder.cleanup()
    sys.path[:] = path
    del sys.modules["page"]


@pytest.fixture
def expected_warnings() -> Iterator[None]:
    """Pages about files that can't be read show what is warned of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* of the images could not be encoded")
        yield


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=Promises())],
    patterns=["*.md"],
    setup=_enter,
    teardown=_leave,
    fixtures=["expected_warnings"],
).pytest()
