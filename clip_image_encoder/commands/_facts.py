"""Facts about a checkpoint, read from its configs and the headers of its files; no weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from clip_image_encoder.backends import available_backends, find_devices
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.checkpoint._files import Files
from clip_image_encoder.checkpoint._safetensors import stored_dtypes
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.models import TextSpec, VisionSpec
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.preprocess._own_processor import OwnProcessor
from clip_image_encoder.protocols import Preprocess

__all__ = ["BackendFacts", "Facts", "PixelFacts", "TextFacts", "VisionFacts", "WeightFile", "facts_of"]

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class VisionFacts:
    """Facts about the vision tower.

    Attributes:
        image_size: Size `(height, width)` in pixels that the tower was trained at.
        any_size: Whether the tower also takes images of other sizes.
        patch_size: Side of a patch in pixels; None for a network without patches.
        outputs: Kinds of features that the tower gives: "pooled", "tokens" or both.
        prefix_tokens: Number of class and register tokens before the patches.
        through: Package whose code computes the tower; None means this package.
    """

    image_size: tuple[int, int]
    any_size: bool
    patch_size: int | None
    outputs: tuple[str, ...]
    prefix_tokens: int
    through: str | None


@dataclass(frozen=True, kw_only=True)
class PixelFacts:
    """Facts about the preprocess, which turns images into pixels.

    Attributes:
        preprocess: Name of the preprocess's class, such as "ClipPreprocess" or "transformers' ConvNextImageProcessor".
        size: Size `(height, width)` in pixels; None means that each image has a size of its own.
        mean: Mean of each color channel for values in 0..1, red first, that the backend subtracts; None means that a
            class of transformers normalizes pixels by itself.
        std: Standard deviation of each color channel for values in 0..1, by which the backend divides; None means
            that a class of transformers normalizes pixels by itself.
    """

    preprocess: str
    size: tuple[int, int] | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """Facts about the text tower.

    Attributes:
        max_length: Largest number of tokens that the tower reads, start and end tokens included.
        padding: Length that texts are padded to: "longest" of the batch, or "max_length".
        compared_by: Function that turns cosines into probabilities: "softmax" over texts, or "sigmoid" of a pair.
        through: Package whose code computes the tower; None means this package.
    """

    max_length: int
    padding: str
    compared_by: str
    through: str | None


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """Facts about a file of weights.

    Attributes:
        name: Path of the file, relative to the checkpoint's folder.
        size: Size of the file in bytes; None if it is not downloaded yet.
        dtypes: Types of the numbers in the file, the most frequent first; empty if it is not downloaded yet.
    """

    name: str
    size: int | None
    dtypes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BackendFacts:
    """Facts about a backend.

    Attributes:
        name: Name of the backend, for `ImageEncoder(backend=...)`.
        runs: Inputs that the backend encodes with the checkpoint: "images", "texts" or both.
        devices: Names of the devices that the backend can run on here, the best first; empty if it does not run.
        problem: Reason why the backend does not run here, with the line that installs it; None if it does.
    """

    name: str
    runs: tuple[str, ...]
    devices: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts about a checkpoint.

    Attributes:
        model: Folder of the checkpoint, or its id on the hub.
        format: Name of the checkpoint's format, such as "transformers".
        family: Name of the model family, or the config's `model_type` if no family has it; None if there is neither.
        encodes: Inputs that can be encoded: "images", "texts", both or neither.
        dimension: Length of an image's vector; None if only the weights show it.
        vision: Facts about the vision tower; None if there is none.
        pixels: Facts about the preprocess; None if there is none.
        text: Facts about the text tower; None if there is none.
        weights: Facts about the files of weights.
        fingerprint: SHA-256 of the config and the weights; None if it was not asked for.
        backends: Facts about each backend of this package.
        missing: Reasons why images or texts can't be encoded.
    """

    model: str
    format: str
    family: str | None
    encodes: tuple[str, ...]
    dimension: int | None
    vision: VisionFacts | None
    pixels: PixelFacts | None
    text: TextFacts | None
    weights: tuple[WeightFile, ...]
    fingerprint: str | None
    backends: tuple[BackendFacts, ...]
    missing: tuple[str, ...]


def facts_of(checkpoint: Checkpoint, *, with_fingerprint: bool = False) -> Facts:
    """Return the facts about a checkpoint.

    Args:
        checkpoint: Checkpoint whose configs are read; its small files are downloaded from the hub if needed.
        with_fingerprint: Whether the weights are read whole, for their fingerprint.

    Raises:
        CheckpointError: The fingerprint is asked for, and the weights can't be read.
    """
    vision, no_vision = _attempt(lambda: checkpoint.vision)
    # Preprocess and tokenizer count as missing only if there is a tower that needs them.
    preprocess, no_preprocess = _attempt(lambda: _preprocess(checkpoint, vision)) if vision else (None, None)
    text, no_text = _attempt(lambda: checkpoint.text)
    tokenizer, no_tokenizer = _attempt(checkpoint.tokenizer_files) if text else (None, None)
    weights, no_weights = _attempt(lambda: _weight_files(checkpoint))
    reasons = (no_vision, no_preprocess, no_text, no_tokenizer, no_weights)
    is_whole = weights is not None
    can_load = {"images": vision and preprocess and is_whole, "texts": text and tokenizer and is_whole}
    encodes = tuple(kind for kind, is_there in can_load.items() if is_there)
    return Facts(
        model=checkpoint.name,
        format=checkpoint.format.name,
        family=checkpoint.format.family(checkpoint.config),
        encodes=encodes,
        dimension=vision.dimension if vision else None,
        vision=_vision_facts(vision) if vision else None,
        pixels=_pixel_facts(preprocess) if preprocess else None,
        text=_text_facts(text) if text else None,
        weights=weights or (),
        fingerprint=checkpoint.fingerprint if with_fingerprint else None,
        backends=tuple(_backend_facts(name, encodes, checkpoint) for name in available_backends()),
        # Both towers may be missing for the same reason.
        missing=tuple(dict.fromkeys(reason.removeprefix(f"{checkpoint.name}: ") for reason in reasons if reason)),
    )


def _attempt(get: Callable[[], _Value]) -> tuple[_Value, None] | tuple[None, str]:
    """Return a value and None, or None and the reason why there is no such value."""
    try:
        return get(), None
    except ConfigurationError as error:
        return None, str(error)


def _preprocess(checkpoint: Checkpoint, vision: VisionSpec) -> Preprocess:
    """Return the preprocess of a checkpoint.

    Raises:
        ConfigurationError: The checkpoint has none, or its pixels have another size than the tower takes.
    """
    preprocess = preprocess_of(checkpoint.preprocessor_config)
    vision.check_size(preprocess.pixel_format.size, name=checkpoint.name)
    return preprocess


def _weight_files(checkpoint: Checkpoint) -> tuple[WeightFile, ...]:
    """Return the facts about a checkpoint's files of weights.

    Raises:
        CheckpointError: There are no files that can be read, or one is missing or damaged.
    """
    return tuple(_weight_file(checkpoint.files, name) for name in checkpoint.format.weight_files(checkpoint.files))


def _weight_file(files: Files, name: str) -> WeightFile:
    size = files.size(name)
    return WeightFile(name=name, size=size, dtypes=() if size is None else tuple(stored_dtypes(files, name)))


def _vision_facts(spec: VisionSpec) -> VisionFacts:
    return VisionFacts(
        image_size=spec.image_size,
        any_size=spec.any_size,
        patch_size=spec.patch_size if spec.patch_size > 1 else None,
        outputs=tuple(sorted(spec.outputs)),
        prefix_tokens=spec.prefix_tokens,
        through=spec.through,
    )


def _pixel_facts(preprocess: Preprocess) -> PixelFacts:
    pixels = preprocess.pixel_format
    if isinstance(preprocess, OwnProcessor):
        return PixelFacts(preprocess=f"transformers' {preprocess.kind}", size=pixels.size, mean=None, std=None)
    return PixelFacts(preprocess=type(preprocess).__name__, size=pixels.size, mean=pixels.mean, std=pixels.std)


def _text_facts(spec: TextSpec) -> TextFacts:
    return TextFacts(
        max_length=spec.max_length, padding=spec.padding, compared_by=spec.compared_by, through=spec.through
    )


def _backend_facts(name: str, encodes: tuple[str, ...], checkpoint: Checkpoint) -> BackendFacts:
    """Return the facts about a backend, whose packages are imported to list their devices."""
    devices, problem = _attempt(lambda: find_devices(name))
    if devices is None:
        return BackendFacts(name=name, runs=(), devices=(), problem=problem)
    runs = tuple(kind for kind in encodes if _runs(name, kind, checkpoint))
    return BackendFacts(name=name, runs=runs, devices=devices, problem=None)


def _runs(name: str, kind: str, checkpoint: Checkpoint) -> bool:
    """Tell whether a backend that is installed encodes images or texts of a checkpoint that has a tower for them."""
    if checkpoint.runtime:
        return name == checkpoint.runtime
    # Only this package's own towers can be exported to graphs.
    through = checkpoint.vision.through if kind == "images" else checkpoint.text.through
    return name == "torch" or through is None
