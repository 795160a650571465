"""Facts about a checkpoint as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clip_image_encoder.commands._facts import BackendFacts, Facts, PixelFacts, TextFacts, VisionFacts, WeightFile

__all__ = ["lines_of"]

_PADDINGS = {"longest": "padded to the longest of a batch", "max_length": "padded to that length"}
_WIDTH = 13


def lines_of(facts: Facts) -> list[str]:
    """Return a line for each fact about a checkpoint, and one for each reason why something can't be encoded."""
    rows = [f"{label:{_WIDTH}} {value}" for label, value in _rows(facts)]
    return [*rows, *(f"missing: {reason}" for reason in facts.missing)]


def _rows(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the label and the value of each line."""
    yield "model", facts.model
    yield "format", facts.format
    if facts.family:
        yield "family", facts.family
    yield "encodes", " and ".join(facts.encodes) or "nothing"
    if facts.dimension:
        yield "dimension", f"{facts.dimension} numbers a vector"
    if facts.vision:
        yield from _vision(facts.vision)
    if facts.pixels:
        yield from _pixels(facts.pixels)
    if facts.text:
        yield from _text(facts.text)
    if facts.weights:
        yield "weights", _weights(facts.weights)
    if facts.fingerprint:
        yield "fingerprint", facts.fingerprint
    for backend in facts.backends:
        yield f"on {backend.name}", _backend(backend)


def _vision(vision: VisionFacts) -> Iterator[tuple[str, str]]:
    others = ", and other sizes" if vision.any_size else ""
    yield "image size", f"{_size(vision.image_size)}{others}"
    if vision.patch_size:
        yield "patch size", _size((vision.patch_size, vision.patch_size))
    prefix = f", {vision.prefix_tokens} of them before the patches" if vision.prefix_tokens else ""
    yield "outputs", f"{' and '.join(vision.outputs)}{prefix if 'tokens' in vision.outputs else ''}"
    if vision.through:
        yield "images run", f"through {vision.through}"


def _pixels(pixels: PixelFacts) -> Iterator[tuple[str, str]]:
    size = _size(pixels.size) if pixels.size else "a size of each image's own"
    yield "preprocess", f"{pixels.preprocess}, to {size}"
    if pixels.mean and pixels.std:
        yield "mean", _channels(pixels.mean)
        yield "std", _channels(pixels.std)


def _text(text: TextFacts) -> Iterator[tuple[str, str]]:
    yield "texts", f"up to {text.max_length} tokens, {_PADDINGS[text.padding]}; compared by {text.compared_by}"
    if text.through:
        yield "texts run", f"through {text.through}"


def _weights(files: Sequence[WeightFile]) -> str:
    return "; ".join(f"{file.name}, {_file(file)}" for file in files)


def _file(file: WeightFile) -> str:
    if file.size is None:
        return "not downloaded yet"
    return f"{file.size / 1e6:.1f} MB, {' and '.join(file.dtypes)}"


def _backend(backend: BackendFacts) -> str:
    if backend.problem:
        return f"not here: {backend.problem}"
    return f"{' and '.join(backend.runs) or 'nothing of this model'}; devices: {', '.join(backend.devices)}"


def _size(size: tuple[int, int]) -> str:
    height, width = size
    return f"{height} x {width} pixels"


def _channels(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
