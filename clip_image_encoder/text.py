"""TextEncoder: texts in, vectors out, to search images by words; it calls a tokenizer, then a text backend."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterable, Sequence, Sized
from contextlib import closing
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import batch_size_on, check_count
from clip_image_encoder._computing import compute_rows, finish_rows
from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._fingerprint import fingerprint
from clip_image_encoder._fit import check_is_backend, check_is_load, check_left_out, is_loaded
from clip_image_encoder._probabilities import probabilities_of
from clip_image_encoder._progress import progress
from clip_image_encoder._text_inputs import each_text
from clip_image_encoder._threads import in_parts
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.backends import LoadText, load_text_of
from clip_image_encoder.batches import EncodedBatch, gather
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint._tokenizer import tokenizer_of
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.pipeline import on_devices
from clip_image_encoder.protocols import TextBackend, Tokenizer

__all__ = ["TextEncoder"]


class TextEncoder:
    """Turns texts into vectors that can be compared with those of images of the same checkpoint.

    The dot product of a text's vector and an image's is their cosine: the higher it is, the better the text
    describes the image. Several threads may call an encoder. It pickles as its configuration.

    Args:
        model: A hub id, a folder, or "tiny-shapes", as in `ImageEncoder`; or a text model of sentence-transformers
            that was trained to match an image model.
        backend: Name of the runtime, "torch", "onnx" or "openvino"; None means the runtime that an exported folder
            was made for, and torch otherwise. Also a callable that loads a backend with other settings, or a
            `TextBackend` instance, which needs a `tokenizer` and no `model`.
        tokenizer: Hub id or folder whose tokenizer is used, or a `Tokenizer`; None means the model's own.
        max_length: Number of tokens that a longer text is cut to; None means as many as the text tower reads.
        device: Name of a device, or a list of names to split the work over; None means cuda, mps or cpu, the
            first of these that is available.
        dtype: Type that the model computes in: "float32", "float16", "bfloat16" or another of the backend's;
            "auto" means float16 if `device` is a cuda device, and float32 otherwise. The type stays the same for
            the devices of later calls.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        token: Access token of the hub, for private and gated repositories; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.

    Raises:
        ConfigurationError: An argument is wrong, or the components don't fit each other.
        MissingExtraError: A package that the backend or the tokenizer needs is not installed.
        CheckpointError: The checkpoint is missing, unreachable, damaged, or has no text tower.

    Example:
        >>> from clip_image_encoder import TextEncoder
        >>> encoder = TextEncoder("tiny-shapes")
        >>> encoder.encode(["a red circle", "a blue star"]).shape == (2, encoder.dimension)
        True
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str | LoadText | TextBackend | None = None,
        tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
        max_length: int | None = None,
        device: Devices = None,
        dtype: str = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        self._device = device
        self._checkpoint: Checkpoint | None = None
        length = None if max_length is None else check_count(max_length, name="max_length")
        if is_loaded(backend):
            check_left_out(
                model=model,
                dtype=dtype,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
            check_is_backend(backend, TextBackend)
            if not callable(tokenizer) or length is not None:
                raise ConfigurationError(
                    "a backend that is an instance comes with its tokenizer, which cuts the texts; leave out "
                    "max_length, and pass tokenizer=, such as a CheckpointTokenizer or another encoder's"
                )
            self._backend, self._tokenizer = cast("TextBackend", backend), tokenizer
        else:
            checkpoint = open_checkpoint(
                model, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
            self._checkpoint = checkpoint
            # Before the weights, which take seconds: what the tokenizer lacks is reported at once.
            if callable(tokenizer):
                self._tokenizer = tokenizer
            else:
                source = checkpoint
                if tokenizer is not None:
                    source = open_checkpoint(
                        tokenizer, token=token, cache_dir=cache_dir, local_files_only=local_files_only
                    )
                self._tokenizer = tokenizer_of(source, checkpoint.text, max_length=length)
            load = load_text_of(cast("str | LoadText | None", backend), checkpoint)
            check_is_load(load, LoadText)
            self._backend = load(checkpoint, dtype=dtype, device=device)
            check_is_backend(self._backend, TextBackend)
        resolve_devices(device, self._backend.devices)

    @property
    def tokenizer(self) -> Tokenizer:
        """Component that turns texts into token ids."""
        return self._tokenizer

    @property
    def backend(self) -> TextBackend:
        """Component that turns token ids into vectors: it runs the text tower."""
        return self._backend

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        return self._backend.dimension

    @cached_property
    def logit_scale(self) -> float | None:
        """Number that the checkpoint multiplies cosines by before it compares them; None if it has no such number."""
        logarithm = None if self._checkpoint is None else self._checkpoint.number("logit_scale")
        return None if logarithm is None else math.exp(logarithm)

    @cached_property
    def logit_bias(self) -> float | None:
        """Number that the checkpoint adds to scaled cosines, as SigLIP does; None if it has no such number, as CLIP."""
        return None if self._checkpoint is None else self._checkpoint.number("logit_bias")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, the tokenizer and their settings: encoders with one fingerprint give equal vectors.

        Raises:
            CheckpointError: The checkpoint's files have changed since they were loaded.
            ConfigurationError: A component of your own can't be fingerprinted.
        """
        return fingerprint(self._tokenizer, self._backend)

    @property
    def space(self) -> str | None:
        """SHA-256 of the checkpoint's config and weights: images can be compared whose encoder has the same `space`.

        None means that no image is known to be comparable, since the backend is an instance.

        Raises:
            CheckpointError: The checkpoint's files have changed since they were loaded.
        """
        return None if self._checkpoint is None else self._checkpoint.space

    def __repr__(self) -> str:
        return f"TextEncoder({self._tokenizer!r}, {self._backend!r})"

    def encode(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
    ) -> Vectors:
        """Encode one text or many.

        A text with more tokens than the tower reads is cut.

        Args:
            texts: A string, or any iterable of strings.
            batch_size: Number of texts in one forward pass; None means 128 on CUDA devices and 32 on others.
            device: Name of a device, or a list of names, for this call only; None means the constructor's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

        Returns:
            float32, C-contiguous: `(d,)` for one string; `(n, d)` for n strings, in their order; `(0, d)` for an
            empty iterable.

        Raises:
            ConfigurationError: An argument is wrong, or an item is not a string.
            BackendError: The model or its device failed.
            ContractError: A component of your own broke its protocol.
        """
        # All texts are checked before the first is encoded, so that a wrong item in the middle is reported at once.
        strings = list(each_text(texts))
        # Texts of similar length share a batch, which is padded to its longest text.
        order = sorted(range(len(strings)), key=lambda number: len(strings[number]))
        sorted_texts = ((number, strings[number]) for number in order)
        vectors = np.empty((len(strings), self.dimension), np.float32)
        batches = self._encode(sorted_texts, len(strings), batch_size, device, normalize)
        vectors[order] = gather(batches, dimension=self.dimension)
        return vectors[0] if isinstance(texts, str) else vectors

    def stream(
        self,
        texts: str | Iterable[str],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
        show_progress: bool | None = None,
    ) -> Generator[EncodedBatch]:
        """Encode any number of texts in bounded memory, batch by batch, in order.

        If `texts` raises, or an item of it is not a string, the batches before come first, then the error.

        Args:
            texts: A string, or any iterable of strings, as in `encode`; the iterable may be endless.
            batch_size: Number of texts in a batch; None means 128 on CUDA devices and 32 on others.
            device: Name of a device, or a list of names, for this call only; None means the constructor's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
            show_progress: Whether a progress bar is shown; None shows one for long work in interactive sessions.

        Yields:
            EncodedBatch: `start` and `embeddings` `(m, d)` float32; `failures` is empty.

        Raises:
            ConfigurationError: An argument is wrong, raised at the call; or an item is not a string, raised at its
                batch.
            BackendError: The model or its device failed.
            ContractError: A component of your own broke its protocol.

        Example:
            >>> from clip_image_encoder import TextEncoder
            >>> texts = (f"{number} red circles" for number in range(5))
            >>> [batch.embeddings.shape[0] for batch in TextEncoder("tiny-shapes").stream(texts, batch_size=2)]
            [2, 2, 1]
        """
        total = len(texts) if not isinstance(texts, str) and isinstance(texts, Sized) else None
        batches = self._encode(enumerate(each_text(texts)), total, batch_size, device, normalize)
        return progress(batches, total=total, show=show_progress, unit="text")

    def probabilities(self, image_vectors: Vectors, text_vectors: Vectors) -> NDArray[np.float32]:
        """Return how likely each text is for each image, as the checkpoint was trained to say.

        CLIP compares the given texts with each other by a softmax, so that an image's values sum to 1 even if no
        text describes it. SigLIP judges each pair by itself, by a sigmoid, so that all values may be low.

        Args:
            image_vectors: Unit vectors `(n, d)` of an `ImageEncoder` of this checkpoint, or `(d,)` for one image.
            text_vectors: Unit vectors `(m, d)` of this encoder, or `(d,)` for one text.

        Returns:
            float32 `(n, m)` in 0..1, or `(m,)` for one image.

        Raises:
            ConfigurationError: The checkpoint has no `logit_scale`, or the vectors have other shapes.

        Example:
            >>> from PIL import Image
            >>> from clip_image_encoder import ImageEncoder, TextEncoder
            >>> texts = TextEncoder("tiny-shapes")
            >>> image = ImageEncoder("tiny-shapes").encode(Image.new("RGB", (64, 64), "red"))
            >>> likely = texts.probabilities(image, texts.encode(["something red", "something blue"]))
            >>> likely.shape, bool(likely[0] > 0.9)
            ((2,), True)
        """
        if self._checkpoint is None or self.logit_scale is None:
            raise ConfigurationError("no logit_scale is known, which probabilities need; compare cosines instead")
        return probabilities_of(
            image_vectors,
            text_vectors,
            scale=self.logit_scale,
            bias=self.logit_bias or 0.0,
            compared_by=self._checkpoint.text.compared_by,
        )

    def _encode(
        self, texts: Iterable[tuple[int, str]], number: int | None, size: int | None, device: Devices, normalize: bool
    ) -> Generator[EncodedBatch]:
        """Check the arguments, and return a generator of batches that does the work; each text has its number."""
        devices = resolve_devices(self._device if device is None else device, self._backend.devices)
        size = batch_size_on(devices, size)
        return self._batches(texts, size, devices, normalize, is_one=number is not None and number <= size)

    def _batches(
        self, texts: Iterable[tuple[int, str]], size: int, devices: Sequence[str], normalize: bool, *, is_one: bool
    ) -> Generator[EncodedBatch]:
        room: dict[str, int] = {}

        def encode(part: tuple[int, list[tuple[int, str]]], device: str) -> EncodedBatch:
            place, numbered = part
            start = time.perf_counter()
            vectors = self._vectors(numbered, device, room, normalize=normalize)
            seconds = time.perf_counter() - start
            return EncodedBatch(start=place * size, embeddings=vectors, failures=(), encoding_seconds=seconds)

        with (
            closing(in_parts(texts, size)) as parts,
            closing(on_devices(encode, enumerate(parts), devices, is_one=is_one)) as encoded,
        ):
            yield from encoded

    def _vectors(
        self, numbered: list[tuple[int, str]], device: str, room: dict[str, int], *, normalize: bool
    ) -> Vectors:
        """Return the vectors `(n, d)` of the numbered texts of a batch."""
        token_ids, mask = self._tokenizer([text for _, text in numbered])

        def compute(rows: slice) -> Vectors:
            return self._backend(token_ids[rows], None if mask is None else mask[rows], device=device)

        vectors = compute_rows(
            compute,
            len(numbered),
            room=room,
            name=type(self._backend).__name__,
            device=device,
            noun="text",
            shape=(self.dimension,),
        )
        return finish_rows(vectors, normalize=normalize, describe=lambda row: f"text {numbered[row][0]}")
