"""What can be told of a checkpoint from its configs and the sizes of its files; no weights are loaded."""

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
    """The vision tower.

    Attributes:
        image_size: `(height, width)` in pixels that it was trained at.
        any_size: Whether it takes images of other sizes, too.
        patch_size: Side of a patch in pixels; None for a network that has none.
        outputs: What it gives: "pooled", "tokens" or both.
        prefix_tokens: Number of class and register tokens before the patches.
        through: Whose code computes it; None for this package's own.
    """

    image_size: tuple[int, int]
    any_size: bool
    patch_size: int | None
    outputs: tuple[str, ...]
    prefix_tokens: int
    through: str | None


@dataclass(frozen=True, kw_only=True)
class PixelFacts:
    """How images become pixels.

    Attributes:
        preprocess: Name of the class that does it, such as "ClipPreprocess" or "transformers' ConvNextImageProcessor".
        size: `(height, width)` in pixels; None where each image has a size of its own.
        mean: Mean of each color channel for values in 0..1, red first, that the backend subtracts; None where a class
            of transformers normalizes pixels by itself.
        std: Standard deviation of each color channel for values in 0..1, by which the backend divides; None where a
            class of transformers normalizes pixels by itself.
    """

    preprocess: str
    size: tuple[int, int] | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """The text tower.

    Attributes:
        max_length: Number of tokens that it reads, special ones included.
        padding: "longest" or "max_length", as in `models.TextSpec`.
        compared_by: "softmax" or "sigmoid", as in `models.TextSpec`.
        through: Whose code computes it; None for this package's own.
    """

    max_length: int
    padding: str
    compared_by: str
    through: str | None


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of weights.

    Attributes:
        name: Below the checkpoint's folder.
        size: Number of bytes; None where it is not downloaded yet.
        dtypes: Types of its numbers, the one of most numbers first; none where it is not downloaded yet.
    """

    name: str
    size: int | None
    dtypes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BackendFacts:
    """A backend.

    Attributes:
        name: As `ImageEncoder(backend=...)` takes it.
        runs: What of the checkpoint it encodes: "images", "texts" or both.
        devices: What it can run on here, the best first; none where it is not installed.
        problem: Why it doesn't run here, with the line that installs it; None where it does.
    """

    name: str
    runs: tuple[str, ...]
    devices: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What can be told of a checkpoint.

    Attributes:
        model: Its folder, or its id on the hub.
        format: Name of the format.
        family: Name of the family, or the `model_type` that no family claims; None where nothing names it.
        encodes: What can be loaded: "images", "texts", both or neither.
        dimension: Length of a vector of an image; None where only the weights tell.
        vision: The vision tower; None where there is none.
        pixels: How images become pixels; None where nothing says it.
        text: The text tower; None where there is none.
        weights: The files of the weights.
        fingerprint: SHA-256 of the config and the weights; None where it was not asked for.
        backends: Every backend of this package.
        missing: What keeps images or texts from being encoded: a reason each.
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
    """Look at a checkpoint.

    Args:
        checkpoint: Its configs are read; other small files are fetched from the hub where they are needed.
        with_fingerprint: Whether the weights are read whole, too, for their fingerprint.

    Raises:
        CheckpointError: The fingerprint is asked for, and the weights can't be read.
    """
    vision, no_vision = _attempt(lambda: checkpoint.vision)
    # What prepares images or texts is missed only where there is a tower for them.
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
    """Return what a checkpoint's images are prepared with.

    Raises:
        ConfigurationError: Nothing says how, or it makes other pixels than the tower takes.
    """
    preprocess = preprocess_of(checkpoint.preprocessor_config)
    vision.check_size(preprocess.pixel_format.size, name=checkpoint.name)
    return preprocess


def _weight_files(checkpoint: Checkpoint) -> tuple[WeightFile, ...]:
    """Return the files of a checkpoint's weights.

    Raises:
        CheckpointError: There are none that can be read, or one of them is missing or damaged.
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
    """Look at a backend; its packages are imported to ask them for their devices."""
    devices, problem = _attempt(lambda: find_devices(name))
    if devices is None:
        return BackendFacts(name=name, runs=(), devices=(), problem=problem)
    runs = tuple(kind for kind in encodes if _runs(name, kind, checkpoint))
    return BackendFacts(name=name, runs=runs, devices=devices, problem=None)


def _runs(name: str, kind: str, checkpoint: Checkpoint) -> bool:
    """Tell whether a backend that is installed encodes images or texts of a checkpoint that has a tower for them."""
    if checkpoint.runtime:
        return name == checkpoint.runtime
    # Graphs are made of this package's own towers only.
    through = checkpoint.vision.through if kind == "images" else checkpoint.text.through
    return name == "torch" or through is None
