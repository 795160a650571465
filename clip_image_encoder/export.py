"""Export of a checkpoint to a folder of graphs that runs without torch and transformers."""

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
    """Write the towers of a checkpoint as graphs, with all settings and files that run them without torch.

    `ImageEncoder(folder)` and `TextEncoder(folder)` run the graphs in the runtime that they were made for, on any
    machine. The folder appears when it is complete; until then its content is in `<folder>-unfinished` beside it.
    The next export to the same folder removes the files that a killed one has left.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        folder: Folder to write; it must not exist, or be empty and not the current folder.
        backend: Name of the runtime: "onnx" or "openvino".
        dtype: Type that the graphs compute in: "float32", or another of the runtime's, such as "int8".
        output: "pooled" puts the checkpoint's own pooling into the graph; "tokens" leaves it out, for another
            pooling in `ImageEncoder(folder, pooling=...)`.
        texts: Whether the text tower is exported; None exports it if the checkpoint has one and its tokenizer.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        token: Access token of the hub, for private and gated repositories; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.

    Raises:
        ConfigurationError: The folder is not empty, can't be written to, or is in use by another export; the
            runtime has no such dtype; or a part of the checkpoint, such as its preprocess, can't be stored.
        MissingExtraError: The runtime, or a package that exports, is not installed.
        CheckpointError: The checkpoint is missing or damaged, or `texts` is True and it has no text tower.
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
    target = Path(os.path.realpath(folder))  # writes to the folder behind a link, and keeps the link
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
            # The name alone of a folder, so that the export holds no path of this machine.
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
    """Yield an empty folder, which is renamed to the target if the block succeeds, and is removed otherwise.

    It is in a locked folder beside the target, whose content of a killed export is removed first:

        clip-onnx                     the target
        clip-onnx-unfinished/.lock    held until the block ends
        clip-onnx-unfinished/made     the folder that is yielded

    Raises:
        ConfigurationError: Another export writes to the target, or the target can't be written.
    """
    unfinished = target.with_name(f"{target.name}-unfinished")
    made = unfinished / "made"
    try:
        with lock_folder(unfinished), _as_encoder_errors(target):
            _check_free(target)  # once more: another export may have written it before this one got the lock
            if made.exists():
                shutil.rmtree(made)
            made.mkdir()
            try:
                yield made
                if target.exists():  # on Windows a rename fails even if the target is an empty folder
                    target.rmdir()
                made.rename(target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty: another export writes there, or the user has files in it
            unfinished.rmdir()


def _check_free(target: Path) -> None:
    with _as_encoder_errors(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigurationError(f"{target} is not empty; export to an empty folder or to a new one")
        if target.exists() and (os.path.ismount(target) or target.samefile(os.curdir)):
            raise ConfigurationError(f"{target} is a mounted disk or the current folder; export to a folder in it")


@contextmanager
def _as_encoder_errors(target: Path) -> Iterator[None]:
    """Raise an OSError of the block, such as that of a full disk, as an error of this package."""
    try:
        yield
    except EncoderError:
        raise
    except OSError as error:
        # The error of a failed copy has both files; filename2 is the one that is written.
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
        "patch_size": checkpoint.vision.patch_size,
        "prefix_tokens": checkpoint.vision.prefix_tokens if output == "tokens" else 0,
        "pixel_format": {"size": seen.size, "mean": seen.mean, "std": seen.std},
        "preprocess": kept,
    }


def _write_texts(checkpoint: Checkpoint, made: Path, backend: str, dtype: str) -> dict[str, Any]:
    """Write the graph of a text tower and the files of its tokenizer, and return their entry in the config."""
    spec = checkpoint.text
    rules = {"clean": name_of(spec.clean, CLEANINGS), "tokenizer": name_of(spec.tokenizer, TOKENIZERS)}
    tokenizer = tokenizer_of(checkpoint, spec)
    fitted = find_text_backend(backend)(checkpoint, dtype=dtype, device="cpu")
    assert isinstance(fitted, GraphTextBackend)  # like the backend of the vision tower, which was checked
    names = {Path(name).name: name for name in checkpoint.format.tokenizer_files(checkpoint.files)}
    for name in names.keys() - {"config.json"}:
        shutil.copy(checkpoint.files.path(names[name]), made / name)
    if spec.tokenizer is None and "tokenizer.json" not in names:  # transformers has converted another format
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
    """Copy a graph and the files of its weights, and return their entry in the config."""
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

    Args:
        checkpoint: Checkpoint that is exported.
        texts: Caller's wish; None exports the text tower if there is one with its tokenizer.

    Raises:
        CheckpointError: `texts` is True, and the checkpoint has no text tower.
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
