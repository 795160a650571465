"""Vectors of a search's query, by an encoder whose vectors can be compared with the stored ones."""

from __future__ import annotations

from pathlib import Path

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import CheckpointError, ConfigurationError
from clip_image_encoder.stored_vectors import StoredVectors
from clip_image_encoder.text import TextEncoder

__all__ = ["image_vector", "text_vector"]


def text_vector(text: str, stored: StoredVectors, *, model: str | None) -> Vectors:
    """Return the vector `(d,)` of a text.

    Args:
        text: Text to encode.
        stored: Vectors that it will be compared with.
        model: Hub id, folder, or "tiny-shapes"; None means the model that is stored with the vectors.

    Raises:
        ConfigurationError: The model can't be loaded, or is another one than that of the stored vectors.
        CheckpointError: The given model can't be loaded, or has no text tower.
    """
    name = _name(stored, model)
    try:
        encoder = TextEncoder(name)
    except CheckpointError as error:
        raise _not_loaded(error, name, model) from error
    _check(stored, name, space=encoder.space)
    return encoder.encode(text)


def image_vector(file: Path, stored: StoredVectors, *, model: str | None) -> Vectors:
    """Return the vector `(d,)` of an image.

    Args:
        file: Path of the image.
        stored: Vectors that it will be compared with.
        model: Hub id, folder, or "tiny-shapes"; None means the model that is stored with the vectors.

    Raises:
        ConfigurationError: The model can't be loaded, or is another one than that of the stored vectors.
        CheckpointError: The given model can't be loaded.
        ImageError: The image can't be read.
    """
    name = _name(stored, model)
    try:
        encoder = ImageEncoder(name)
    except CheckpointError as error:
        raise _not_loaded(error, name, model) from error
    if encoder.fingerprint != stored.fingerprint:
        _check(stored, name, space=encoder.space)
    return encoder.encode(file)


def _name(stored: StoredVectors, model: str | None) -> str:
    name = model or stored.model
    if name is None:
        raise ConfigurationError("the vectors don't say which model has made them; name it: --model NAME")
    return name


def _not_loaded(error: CheckpointError, name: str, model: str | None) -> ConfigurationError:
    if model is not None:
        return error
    return ConfigurationError(
        f"the vectors were made by the model {name!r}, which can't be loaded; if it is a folder, pass its path: "
        f"--model PATH ({error})"
    )


def _check(stored: StoredVectors, name: str, *, space: str | None) -> None:
    """Check that vectors of a model can be compared with the stored ones.

    Raises:
        ConfigurationError: The vectors are those of another model, or of one that is not stored with them.
    """
    if stored.space is None:
        # Written before models were stored, or by an encoder with a backend or pooling of its own.
        if ImageEncoder(name).fingerprint != stored.fingerprint:
            raise ConfigurationError(
                f"the vectors don't say which model has made them, and their fingerprint is not that of {name} with "
                "the settings of this command; encode the images again, or search in Python: "
                "clip_image_encoder.search.search"
            )
    elif space != stored.space:
        if stored.model in (name, Path(name).name):
            raise ConfigurationError(
                f"the vectors were made by {name} with other weights or another config: they can't be compared; encode "
                "the images again"
            )
        maker = stored.model
        raise ConfigurationError(
            f"the vectors were made by {maker}, not by {name}: they can't be compared; use --model {maker}"
        )
