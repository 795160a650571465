"""From a group of images or texts to a vector or an error for each of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from clip_image_encoder._messages import without_tracebacks
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.batches import EncodedBatch
from clip_image_encoder.errors import BackendError, ConfigurationError, ContractError
from clip_image_encoder.images import ImageInput
from clip_image_encoder.images.describe import short_text

if TYPE_CHECKING:
    from clip_image_encoder.text import TextEncoder

__all__ = ["Answers", "Encode", "ImageStream", "answers_of", "encode_images", "encode_texts"]

_logger = logging.getLogger("clip_image_encoder.serving")


@runtime_checkable
class ImageStream(Protocol):
    """What a batcher asks of an encoder of images: an `ImageEncoder`, a `CachedEncoder`, or one of yours.

    One that has an `ImageLoader` as its `loader` is given images as `loader.read` returns them.
    """

    def stream(
        self, images: Iterable[ImageInput], batch_size: int, *, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        """Encode images batch by batch, as `ImageEncoder.stream` does."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What became of a group: a vector or an error for each item, and the seconds that it took."""

    outcomes: Sequence[Vectors | Exception]
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


Encode: TypeAlias = Callable[[Iterable[object]], Answers]
"""Encodes a group; may raise anything."""


def answers_of(encode: Encode, items: Iterable[object], drawn: Sequence[object]) -> Answers:
    """Encode a group, and answer each of its items, whatever happens.

    Args:
        encode: makes the vectors.
        items: the group; it may grow while `encode` draws it.
        drawn: the items that `encode` has drawn so far, or will draw for certain.
    """
    error: BaseException
    try:
        answers = encode(items)
        if len(answers.outcomes) != len(drawn):
            raise ContractError(f"the encoder gave {len(answers.outcomes)} vectors for {len(drawn)} inputs")
    except BaseException as raised:  # a tokenizer's panic, a plugin's SystemExit: its caller learns of it
        error = raised
        if not isinstance(error, ConfigurationError):
            _logger.exception("a batch of %d calls failed", len(drawn))
    else:
        return answers
    if len(drawn) == 1 or isinstance(error, BackendError):
        return Answers(outcomes=[_for_callers(error)] * len(drawn))
    # One of them may be to blame: each is asked alone.
    alone = [answers_of(encode, [item], [item]) for item in drawn]
    return Answers(
        outcomes=[outcome for answers in alone for outcome in answers.outcomes],
        loading_seconds=sum(answers.loading_seconds for answers in alone),
        encoding_seconds=sum(answers.encoding_seconds for answers in alone),
    )


def encode_images(encoder: ImageStream, size: int) -> Encode:
    """Return a function that encodes a group of at most `size` images."""

    def encode(items: Iterable[object]) -> Answers:
        images: Iterable[ImageInput] = items  # type: ignore[assignment]  # what is none gets an ImageError
        batches = list(encoder.stream(images, size, show_progress=False))
        outcomes: list[Vectors | Exception] = [row.copy() for batch in batches for row in batch.embeddings]
        for failure in (failure for batch in batches for failure in batch.failures):
            assert failure.index is not None
            outcomes[failure.index] = failure.at(0)
        return Answers(
            outcomes=outcomes,
            loading_seconds=sum(batch.loading_seconds for batch in batches),
            encoding_seconds=sum(batch.encoding_seconds for batch in batches),
        )

    return encode


def encode_texts(encoder: TextEncoder, size: int) -> Encode:
    """Return a function that encodes a group of at most `size` texts."""

    def encode(items: Iterable[object]) -> Answers:
        texts: list[str] = list(items)  # type: ignore[arg-type]  # what is none raises ConfigurationError
        start = time.perf_counter()
        outcomes = [row.copy() for row in encoder.encode(texts, size)]
        return Answers(outcomes=outcomes, encoding_seconds=time.perf_counter() - start)

    return encode


def _for_callers(error: BaseException) -> Exception:
    """Return an error that may be raised to callers: what is no Exception would end their threads or loops."""
    if isinstance(error, Exception):
        return without_tracebacks(error)
    told = ContractError(f"the encoder raised {short_text(repr(error))}")
    told.__cause__ = error
    return without_tracebacks(told)
