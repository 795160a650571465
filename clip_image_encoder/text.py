"""TextEncoder: the other tower of a checkpoint, for searching pictures by words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModelWithProjection, Siglip2TextModel, SiglipTextModel

from clip_image_encoder._arguments import check_batch_size, check_count
from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._fingerprint import fingerprint
from clip_image_encoder._forks import in_forks, no_fork
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.backends._torch_devices import check_dtype, dtype_on, let_forks_compute, torch_devices
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint._files import first_line
from clip_image_encoder.checkpoint._weights import build, load_weights
from clip_image_encoder.errors import BackendError, CheckpointError, ConfigurationError
from clip_image_encoder.pipeline import unit_rows

__all__ = ["TextEncoder", "Tokenizer", "enough_of"]

# A long text is cut before it is tokenised, to so much: so many characters for each token that is wanted,
# tokens behind the last one that is read, characters of a word that stays whole.
_CHARACTERS_A_TOKEN = 8
_SPARE_TOKENS = 64
_LONGEST_WORD = 16_384
_END_OF_WORD = re.compile(r"\s|\Z")


class TextEncoder:
    """Turns texts into vectors of the space where pictures of the same checkpoint live.

    The dot product of a text's vector and a picture's is their cosine: the higher, the better they
    go together. An encoder may be called from several threads, and pickles as its configuration.

    Args:
        model: a hub id, a folder, or "tiny-shapes"; CLIP, SigLIP and SigLIP2 have a text tower.
        tokenizer: hub id or folder whose tokenizer is used instead of the model's own.
        max_length: number of tokens at which texts are cut; None is what the tower reads.
        device: name of a device, or None for cuda, mps or cpu, whichever is there first.
        dtype: "float32", "float16", "bfloat16"; "auto" is float16 if `device` is a cuda device, and float32
            if it is another; it holds for all devices that are named later.
        revision: branch, tag or commit on the hub.
        token: for private and gated repositories.
        cache_dir: where downloaded files are kept instead of the hub's own cache.
        local_files_only: never ask the network.

    Raises:
        ConfigurationError: the device or the dtype can't be had.
        CheckpointError: the checkpoint is missing, unreachable, damaged, or has no text tower.

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
        tokenizer: str | os.PathLike[str] | None = None,
        max_length: int | None = None,
        device: Devices = None,
        dtype: str = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        self._dtype = check_dtype(dtype)
        resolve_devices(device, torch_devices())
        self._device = device
        self._checkpoint = open_checkpoint(
            model, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
        )
        self._tokenizer_checkpoint = self._checkpoint
        if tokenizer is not None:
            self._tokenizer_checkpoint = open_checkpoint(
                tokenizer, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
        longest = self._checkpoint.text.max_length
        self._max_length = longest if max_length is None else min(check_count(max_length, name="max_length"), longest)
        self._load()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: a SHA-256 over the weights, the tokenizer and the dtype.

        Raises:
            CheckpointError: the checkpoint's files are no longer those that were loaded.
        """
        parts = (self._checkpoint.fingerprint, self._tokenizer_checkpoint.tokenizer_fingerprint, self._max_length)
        return fingerprint(f"text({parts}, {self._computed_in})")

    def __repr__(self) -> str:
        return f"TextEncoder({self._checkpoint.name!r}, dtype={self._dtype!r})"

    def __getstate__(self) -> dict[str, Any]:
        names = ("_checkpoint", "_tokenizer_checkpoint", "_max_length", "_dtype", "_device")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()

    def encode(
        self, texts: str | Iterable[str], batch_size: int = 32, device: Devices = None, *, normalize: bool = True
    ) -> Vectors:
        """Encode one text or many.

        Texts that are longer than the tower reads are cut at its end.

        Args:
            texts: a string, or any iterable of strings.
            batch_size: texts that pass the model at a time.
            device: for this call only, as in the constructor.
            normalize: scale each vector to length 1; False gives the model's own numbers.

        Returns:
            float32, C-contiguous: `(d,)` for a string; `(n, d)` for many, in their order, and
            `(0, d)` for none.

        Raises:
            ConfigurationError: an argument is wrong, or an item is not a string.
            BackendError: the device failed.
        """
        size = check_batch_size(batch_size)
        place = resolve_devices(self._device if device is None else device, torch_devices())[0]
        strings = _strings(texts)
        batches = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(strings), size):
            vectors = self._encode_batch(strings[start : start + size], place)
            batches.append(unit_rows(vectors) if normalize else vectors)
        encoded: Vectors = np.concatenate(batches)
        return encoded[0] if isinstance(texts, str) else encoded

    def _load(self) -> None:
        """Load the tokenizer, and the tower onto the device that it will run on first."""
        self._lock = Lock()
        let_forks_compute()
        in_forks(self, TextEncoder._renew)
        self._tokenizer = _load_tokenizer(self._tokenizer_checkpoint)
        self._towers: dict[str, TextTower] = {}
        device = resolve_devices(self._device, torch_devices())[0]
        # One dtype for all devices, so that one fingerprint is true of all.
        self._computed_in = dtype_on(device, self._dtype)
        self._dimension = self._tower(device).dimension

    def _renew(self) -> None:
        self._lock = Lock()
        if "TOKENIZERS_PARALLELISM" in os.environ:
            # Where it is set, tokenizers doesn't notice forks, and waits for its threads, which are not there.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def _tower(self, device: str) -> TextTower:
        with self._lock:
            if device not in self._towers:
                self._towers[device] = _load_text_tower(self._checkpoint, self._computed_in, device)
            return self._towers[device]

    def _encode_batch(self, texts: list[str], device: str) -> Vectors:
        spec = self._checkpoint.text
        # Fast tokenizers keep padding and truncation as state, which threads would fight over.
        with self._lock, no_fork():
            tokens = self._tokenizer(
                [enough_of(text, self._tokenizer, self._max_length) for text in texts],
                # SigLIP was trained on texts padded to their full length, and attends to the padding.
                padding="longest" if spec.family == "clip" else "max_length",
                truncation=True,
                max_length=self._max_length,
                return_tensors="np",
            )
        tower = self._tower(device)
        try:
            with no_fork(), _own_context(device):
                ids, mask = torch.from_numpy(tokens["input_ids"]), tokens.get("attention_mask")
                features = tower(ids.to(device), None if mask is None else torch.from_numpy(mask).to(device))
                vectors: Vectors = features.to("cpu", torch.float32).numpy()
        except RuntimeError as error:
            raise BackendError(f"the text tower failed on {device}: {error}") from error
        if not np.isfinite(vectors).all():
            raise BackendError("the text tower gave NaN or infinity; try dtype='float32'")
        return vectors


class _ClipTextTower(nn.Module):
    """CLIP (Radford et al. 2021): the end-of-text token, normalised and projected."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.text.config
        self.model = build(lambda: CLIPTextModelWithProjection(config))
        self.dimension: int = config.projection_dim
        load_weights(self.model.text_model, checkpoint.files, prefixes=("text_model.", ""), dtype=dtype)
        load_weights(self.model.text_projection, checkpoint.files, prefixes=("text_projection.",), dtype=dtype)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return `(n, d)` for token ids `(n, length)`."""
        return cast("Tensor", self.model(input_ids=input_ids, attention_mask=attention_mask).text_embeds)


class _SiglipTextTower(nn.Module):
    """SigLIP and SigLIP 2 (Zhai et al. 2023, Tschannen et al. 2025): the last token through a linear head."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.text.config
        kind = SiglipTextModel if checkpoint.text.family == "siglip" else Siglip2TextModel
        self.model = build(lambda: kind(config))
        self.dimension: int = config.projection_size
        tower = getattr(self.model, "text_model", self.model)
        load_weights(tower, checkpoint.files, prefixes=("text_model.", ""), dtype=dtype)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return `(n, d)` for token ids `(n, length)`."""
        return cast("Tensor", self.model(input_ids=input_ids, attention_mask=attention_mask).pooler_output)


TextTower = _ClipTextTower | _SiglipTextTower


class Tokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    @property
    def truncation_side(self) -> str:
        """Where texts are cut that are too long: "right" or "left"."""
        ...

    def __call__(
        self,
        text: str | list[str],
        /,
        *,
        padding: str | bool = False,
        truncation: bool,
        max_length: int,
        return_tensors: str | None = None,
    ) -> Mapping[str, Any]:
        """Return `input_ids` and, of most tokenizers, an `attention_mask`."""
        ...


def enough_of(text: str, tokenizer: Tokenizer, max_length: int) -> str:
    """Return the start of a text, or all of it, of which the tokenizer makes the same first tokens as of the whole.

    A tokenizer reads a text to its end, at a megabyte in seconds, before it cuts the tokens. What lies many tokens
    further on doesn't change one, with an exception: where a unigram tokenizer meets a run of one character that is
    longer than any word, the run's length decides which of its tokens is the odd one.

    Args:
        text: of any length.
        tokenizer: the checkpoint's own.
        max_length: number of tokens that are read.
    """
    wanted = max_length + _SPARE_TOKENS
    length = _CHARACTERS_A_TOKEN * wanted
    while length < len(text) and tokenizer.truncation_side == "right":
        end = _END_OF_WORD.search(text, length, length + _LONGEST_WORD)
        start = text[: end and end.start()]
        if len(tokenizer(start, truncation=True, max_length=wanted)["input_ids"]) == wanted:
            return start
        length *= 4  # there was much that became no token, such as white space
    return text


def _load_text_tower(checkpoint: Checkpoint, dtype: torch.dtype, device: str) -> TextTower:
    tower: type[TextTower] = _ClipTextTower if checkpoint.text.family == "clip" else _SiglipTextTower
    return tower(checkpoint, dtype).to(device)


@contextmanager
def _own_context(device: str) -> Iterator[None]:
    """Compute as the encoder was told, whatever default device or autocast the caller's program has set."""
    with torch.inference_mode(), torch.device(device), torch.autocast(torch.device(device).type, enabled=False):
        yield


def _load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    load: Callable[..., Tokenizer] = AutoTokenizer.from_pretrained
    folder = checkpoint.tokenizer_folder()
    try:
        return load(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers' compiled part raises bare Exceptions
        raise CheckpointError(f"{checkpoint.name}: the tokenizer can't be loaded: {first_line(error)}") from error


def _strings(texts: str | Iterable[str]) -> list[str]:
    if isinstance(texts, (bytes, Mapping, Set)) or not isinstance(texts, Iterable):
        raise ConfigurationError(f"texts must be a string or an iterable of strings, not {type(texts).__name__}")
    strings = [texts] if isinstance(texts, str) else list(texts)
    for index, text in enumerate(strings):
        if not isinstance(text, str):
            raise ConfigurationError(f"text {index} must be a string, not {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"text {index} has a surrogate, half of a character, in it") from error
    return strings
