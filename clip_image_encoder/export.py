"""A checkpoint as a folder that runs without torch and transformers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clip_image_encoder import __version__
from clip_image_encoder._folder_lock import lock_folder
from clip_image_encoder.backends import find_backend, find_text_backend
from clip_image_encoder.backends._graph_backend import GraphBackend
from clip_image_encoder.backends._graph_text import GraphTextBackend
from clip_image_encoder.backends._quality import quality_of
from clip_image_encoder.backends._reference import Reference
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint._tokenizer import tokenizer_of
from clip_image_encoder.checkpoint.exported import CONFIG, VERSION
from clip_image_encoder.errors import CheckpointError, ConfigurationError, EncoderError
from clip_image_encoder.models._text_rules import CLEANINGS, TOKENIZERS, name_of
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.preprocess._stored import stored
from clip_image_encoder.protocols import Output

__all__ = ["export"]


def export(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    backend: str = "onnx",
    dtype: str = "float32",
    output: Output = "pooled",
    texts: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> None:
    """Write the towers of a checkpoint as graphs, with all that is needed to run them without torch.

    `ImageEncoder(folder)` and `TextEncoder(folder)` run the folder in the runtime that it was made for, on any
    machine. The folder appears when it is complete; until then its content lies in `<folder>-unfinished` beside it.
    What a killed export leaves there is removed by the next one to the same folder.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        folder: Where to write to; it must not exist, or be empty and not the current folder.
        backend: Name of the runtime: "onnx" or "openvino".
        dtype: "float32", or what else the runtime has, such as "int8".
        output: "pooled" puts the checkpoint's own pooling into the graph; "tokens" leaves it out, for a `pooling` that
            is given to `ImageEncoder(folder)`.
        texts: Whether the text tower is exported; None is yes, if the checkpoint has one and its tokenizer.
        revision: Branch, tag or commit on the hub; None is the newest.
        token: Token of the hub, for private and gated repositories.
        cache_dir: Folder where downloaded files are kept instead of the hub's own cache.
        local_files_only: Whether the network is never asked.

    Raises:
        ConfigurationError: The folder holds something, can't be written to, or is another export's at the moment; the
            runtime has no such dtype; or a part of the checkpoint, such as its preprocess, has no form that can be
            written.
        MissingExtraError: A package that exports, or the runtime, is not installed.
        CheckpointError: The checkpoint is missing, damaged, or has no text tower though `texts` is True.
        BackendError: An exported graph gives other features than torch.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.export import export
        >>> folder = Path(mkdtemp()) / "exported"
        >>> export("tiny-shapes", folder, backend="openvino")
        >>> ImageEncoder(folder).dimension
        64
    """
    target = Path(os.path.realpath(folder))  # a link stays one
    _check_free(target)
    checkpoint = open_checkpoint(
        model, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
    )
    if checkpoint.runtime:
        raise ConfigurationError(f"{checkpoint.name} is an exported folder already")
    with _whole_or_absent(target) as made:
        config = {
            "version": VERSION,
            "made_by": f"clip-image-encoder {__version__}",
            # Of a folder its name alone, so that no path of this machine goes along.
            "model": Path(model).name if Path(model).is_dir() else os.fspath(model),
            "family": checkpoint.format.family(checkpoint.config),
            "weights": checkpoint.fingerprint,
            "runtime": backend,
            "dtype": dtype,
            "vision": _write_vision(checkpoint, made, backend, dtype, output),
        }
        if _has_texts(checkpoint, texts):
            config["text"] = _write_texts(checkpoint, made, backend, dtype)
            config["numbers"] = _numbers(checkpoint)
        (made / CONFIG).write_text(json.dumps(config, indent=2), "utf-8")


@contextmanager
def _whole_or_absent(target: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes the target when the block has ended well, and is removed otherwise.

    It lies in a locked folder beside the target. What an export that was killed has left there is removed.

    Raises:
        ConfigurationError: Another export writes to the target, or it can't be written.
    """
    unfinished = target.with_name(f"{target.name}-unfinished")
    made = unfinished / "made"
    try:
        with lock_folder(unfinished), _as_encoder_errors(target):
            _check_free(target)  # another export may have ended since
            if made.exists():
                shutil.rmtree(made)
            made.mkdir()
            try:
                yield made
                if target.exists():  # Windows doesn't rename to an empty folder; one that isn't empty stays
                    target.rmdir()
                made.rename(target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    finally:
        with suppress(OSError):  # it isn't empty: another export writes there, or the user has files in it
            unfinished.rmdir()


def _check_free(target: Path) -> None:
    with _as_encoder_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigurationError(f"{target} holds something; export to a folder that is empty or not there")
        if target.exists() and (os.path.ismount(target) or target.samefile(os.curdir)):
            raise ConfigurationError(f"{target} is a disk or the current folder; export to a folder in it")


@contextmanager
def _as_encoder_errors(target: Path) -> Iterator[None]:
    """Raise what the system refuses in the block, such as a write to a full disk, as an error of this package."""
    try:
        yield
    except EncoderError:
        raise
    except OSError as error:
        # A copy that fails names both files, the one that it writes second.
        place = error.filename2 or error.filename or target
        raise ConfigurationError(f"the export has failed at {place}: {error.strerror or error}") from error


def _write_vision(checkpoint: Checkpoint, made: Path, backend: str, dtype: str, output: Output) -> dict[str, Any]:
    """Write the graph of a vision tower, and return what is said of it."""
    preprocess = preprocess_of(checkpoint.preprocessor_config)
    kept, seen = stored(preprocess), preprocess.pixel_format
    if seen.size is None:
        raise ConfigurationError(f"{checkpoint.name} can't be exported: a graph takes images of one size")
    if output not in checkpoint.vision.outputs:
        outputs = ", ".join(map(repr, sorted(checkpoint.vision.outputs)))
        raise ConfigurationError(f"{checkpoint.name} has no output {output!r}; it has {outputs}")
    fitted = find_backend(backend)(checkpoint, pixel_format=seen, dtype=dtype, device="cpu")
    if not isinstance(fitted, GraphBackend):
        raise ConfigurationError("only the backends 'onnx' and 'openvino' run graphs that can be exported")
    return {
        **_write_graph(fitted.file_of(output), made, "vision"),
        **_said(fitted._reference_of(output)),
        "output": output,
        "prefix_tokens": checkpoint.vision.prefix_tokens if output == "tokens" else 0,
        "pixel_format": {"size": seen.size, "mean": seen.mean, "std": seen.std},
        "preprocess": kept,
    }


def _write_texts(checkpoint: Checkpoint, made: Path, backend: str, dtype: str) -> dict[str, Any]:
    """Write the graph of a text tower and the files of its tokenizer, and return what is said of them."""
    spec = checkpoint.text
    rules = {"clean": name_of(spec.clean, CLEANINGS), "tokenizer": name_of(spec.tokenizer, TOKENIZERS)}
    tokenizer = tokenizer_of(checkpoint, spec)
    fitted = find_text_backend(backend)(checkpoint, dtype=dtype, device="cpu")
    assert isinstance(fitted, GraphTextBackend)  # the vision tower's was one
    names = {Path(name).name: name for name in checkpoint.format.tokenizer_files(checkpoint.files)}
    for name in names.keys() - {"config.json"}:
        shutil.copy(checkpoint.files.path(names[name]), made / name)
    if spec.tokenizer is None and "tokenizer.json" not in names:  # transformers made it of other files
        (made / "tokenizer.json").write_text(tokenizer.as_json(), "utf-8")
    return {
        **_write_graph(fitted.file, made, "text"),
        **_said(fitted._reference),
        **rules,
        "token_ids": fitted._reference.inputs[0][0].tolist(),
        "max_length": spec.max_length,
        "padding": spec.padding,
        "compared_by": spec.compared_by,
    }


def _write_graph(file: Path, made: Path, kind: str) -> dict[str, Any]:
    """Copy a graph and the files of its weights, and return what is said of them."""
    (made / kind).mkdir()
    quality = quality_of(file)
    parts = sorted(part for part in file.parent.glob(f"{file.stem}.*") if part.is_file())
    for part in parts:
        shutil.copy(part, made / kind)
    return {
        "graph": f"{kind}/{file.name}",
        "files": {f"{kind}/{part.name}": part.stat().st_size for part in parts},
        "sha256": {f"{kind}/{part.name}": _digest(part) for part in parts},
        "quality": quality and dataclasses.asdict(quality),
    }


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _said(reference: Reference) -> dict[str, Any]:
    vector = reference.vector
    return {"dimension": len(vector), "reference": [round(float(number), 6) for number in vector]}


def _has_texts(checkpoint: Checkpoint, texts: bool | None) -> bool:
    """Tell whether the text tower is exported.

    Raises:
        CheckpointError: It is wanted, and there is none.
    """
    if texts is not None:
        return texts and bool(checkpoint.text)
    try:
        checkpoint.text  # noqa: B018 - says whether there is one
        checkpoint.tokenizer_folder()
    except CheckpointError:
        return False
    return True


def _numbers(checkpoint: Checkpoint) -> dict[str, float]:
    found = {name: checkpoint.number(name) for name in ("logit_scale", "logit_bias")}
    return {name: number for name, number in found.items() if number is not None}
