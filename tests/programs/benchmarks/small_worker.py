"""One system in an environment of its own, which works on jobs from its input: python -I small_worker.py SYSTEM FOLDER.

A job is a line of JSON, {"kind": "images", "inputs": [...], "batch": 32}, with settings for opening and running if
the system has any; its answer is one, too.
Neither the package's tests nor torch are there: this file runs alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[..., Any]


def ours(kind: str, folder: str) -> Encode:
    """Return what encodes images or texts with an exported folder."""
    if kind == "images":
        from clip_image_encoder import ImageEncoder

        images = ImageEncoder(folder)
        return lambda paths, batch: images.encode(paths, batch_size=batch, show_progress=False)
    from clip_image_encoder import TextEncoder

    texts = TextEncoder(folder)
    return lambda strings, batch: texts.encode(strings, batch_size=batch)


def fastembed(kind: str, folder: str, *, threads: int | None = None) -> Encode:
    """Return what encodes with fastembed; the folder has one for each tower, as fastembed's own models are."""
    if kind == "images":
        from fastembed import ImageEmbedding

        model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=f"{folder}/images", threads=threads)
    else:
        from fastembed import TextEmbedding

        model = TextEmbedding("Qdrant/clip-ViT-B-32-text", specific_model_path=f"{folder}/texts", threads=threads)
    return lambda inputs, batch, parallel=None: np.stack(list(model.embed(inputs, batch_size=batch, parallel=parallel)))


def sentence_transformers(kind: str, folder: str) -> Encode:
    """Return what encodes texts with sentence-transformers."""
    assert kind == "texts"
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import CLIPModel

    model = SentenceTransformer(modules=[CLIPModel(folder)], device="cpu")
    return lambda texts, batch: model.encode(
        texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
    )


SYSTEMS: dict[str, Callable[..., Encode]] = {
    "onnx": ours,
    "openvino": ours,
    "fastembed": fastembed,
    "sentence-transformers": sentence_transformers,
}


def computing() -> float:
    """Return the core-seconds of this process, and of its own that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def megabytes(field: str) -> float:
    """Return this process's memory of a kind (Linux)."""
    status = Path("/proc/self/status").read_text("utf-8").split()
    return int(status[status.index(f"{field}:") + 1]) / 1000


def main(system: str, folder: str) -> None:
    """Load a tower when a job first needs it, and answer the jobs one by one."""
    loaded: dict[str, Encode] = {}
    for line in sys.stdin:
        job = json.loads(line)
        inputs: Sequence[str] = job["inputs"]
        opening, running = job.get("opening", {}), job.get("running", {})
        key = f"{job['kind']} {opening}"
        if key not in loaded:
            loaded[key] = SYSTEMS[system](job["kind"], folder, **opening)
        encode = loaded[key]
        begun, computed = time.perf_counter(), computing()
        if job["batch"] == 1:
            vectors = np.concatenate([np.atleast_2d(encode([one], 1)) for one in inputs])
        else:
            vectors = encode(inputs, job["batch"], **running)
        seconds, core_seconds = time.perf_counter() - begun, computing() - computed
        assert len(vectors) == len(inputs)
        answer = {"seconds": seconds, "computing": core_seconds, "resident": megabytes("VmRSS")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
