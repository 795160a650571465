"""Exported folders: graphs of a checkpoint's towers, with all that is needed to run them without torch.

Their `clip_image_encoder.json` says which runtime the graphs are for and how images and texts are prepared. It also has
the vectors of one image and one text, with which a runtime is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from clip_image_encoder.checkpoint._files import TOKENIZER_FILES, Files, read_json
from clip_image_encoder.checkpoint._format import Format
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models import TextSpec, VisionSpec, Weights
from clip_image_encoder.models._text_rules import CLEANINGS, TOKENIZERS

__all__ = ["CONFIG", "FORMAT", "VERSION"]

CONFIG = "clip_image_encoder.json"
VERSION = 1
"""Version of the folder's layout; a folder of a higher version is refused."""


def _read(files: Files, filename: str) -> dict[str, Any]:
    config = read_json(files, filename)
    version = config.get("version")
    if not isinstance(version, int):
        raise CheckpointError(f"{files.name}: {filename} is damaged: it has no version")
    if version > VERSION:
        raise CheckpointError(
            f"{files.name}: was exported by a later version of this package, in layout {version}; this one reads "
            f"layouts up to {VERSION}; upgrade clip-image-encoder"
        )
    return config


def _vision(config: Mapping[str, Any], name: str) -> VisionSpec:
    values = _tower(config, "vision", name)
    height, width = values["pixel_format"]["size"]
    return VisionSpec(
        image_size=(height, width),
        patch_size=values.get("patch_size", 1),
        outputs=frozenset({values.get("output", "pooled")}),
        prefix_tokens=values.get("prefix_tokens", 0),
        dimension=values["dimension"],
        load=_has_no_weights,
    )


def _text(config: Mapping[str, Any], name: str) -> TextSpec:
    values = _tower(config, "text", name)
    try:
        return TextSpec(
            max_length=values["max_length"],
            padding=values["padding"],
            clean=None if values["clean"] is None else CLEANINGS[values["clean"]],
            compared_by=values["compared_by"],
            tokenizer=None if values["tokenizer"] is None else TOKENIZERS[values["tokenizer"]],
            load=_has_no_weights,
        )
    except KeyError as error:
        raise CheckpointError(f"{name}: {CONFIG} is damaged: {error} is missing or unknown") from error


def _tower(config: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    values = config.get(kind)
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{name}: was exported without its {kind} tower")
    return values


def _has_no_weights(weights: Weights) -> NoReturn:
    raise CheckpointError(
        f"{weights.name}: is an exported folder, which only its own runtime can run; leave out backend="
    )


def _preprocessor_config(files: Files) -> dict[str, Any]:
    config = _tower(read_json(files, CONFIG), "vision", files.name)
    return {"image_processor_type": "Exported", **config["preprocess"]}


FORMAT = Format(
    name="exported",
    config_file=CONFIG,
    rank=-1,
    is_whole=lambda _files: True,
    read=_read,
    family=lambda config: config.get("family"),
    vision=_vision,
    text=_text,
    preprocessor_config=_preprocessor_config,
    tokenizer_files=lambda files: [name for name in TOKENIZER_FILES if name in files.listing],
    # The config has the digests of the graphs, so that the fingerprint needs no other file.
    weight_files=lambda _files: [],
    tensors=lambda _files: {},
    runtime=lambda config: str(config.get("runtime")),
    source=lambda config: config.get("weights"),
    numbers=lambda config: config.get("numbers", {}),
)
