"""open_clip's format: `open_clip_config.json`, its safetensors, and the tokenizer's files beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from clip_image_encoder._messages import first_line
from clip_image_encoder.checkpoint._files import TOKENIZER_FILES, VOCABULARIES, Files, pickles, read_json
from clip_image_encoder.checkpoint._format import Format
from clip_image_encoder.checkpoint._safetensors import tensor_names
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models import TextSpec, VisionSpec
from clip_image_encoder.models import _open_clip as models

__all__ = ["FORMAT"]

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_Spec = TypeVar("_Spec", VisionSpec, TextSpec)


def _vision(config: Mapping[str, Any], name: str) -> VisionSpec:
    """Return the vision tower that a parsed `open_clip_config.json` describes.

    Raises:
        CheckpointError: The config describes none.
    """
    return _read(models.vision_spec, config, name)


def _text(config: Mapping[str, Any], name: str) -> TextSpec:
    """Return the text tower that a parsed `open_clip_config.json` describes.

    Raises:
        CheckpointError: The config describes none, or asks for texts to be prepared in an unknown way.
    """
    return _read(models.text_spec, config, name)


def _read(spec: Callable[[Mapping[str, Any]], _Spec], config: Mapping[str, Any], name: str) -> _Spec:
    try:
        return spec(config["model_cfg"])
    except Exception as error:  # the file may hold anything, and the functions expect fields of the right types
        what = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(f"{name}: {_CONFIG} is invalid: {what}") from error


def _family(config: Mapping[str, Any]) -> str | None:
    """Return the name of timm's architecture, or None for open_clip's own, which have no names."""
    model = config.get("model_cfg")
    vision = model.get("vision_cfg") if isinstance(model, Mapping) else None
    name = vision.get("timm_model_name") if isinstance(vision, Mapping) else None
    return None if name is None else str(name)


def _preprocessor_config(files: Files) -> dict[str, Any]:
    """Return the file's `preprocess_cfg`, with the size of the images that the vision tower takes.

    Raises:
        CheckpointError: The file describes no vision tower.
    """
    config = read_json(files, _CONFIG)
    size = _vision(config, files.name).image_size
    return {**(config.get("preprocess_cfg") or {}), "size": size, "image_processor_type": "OpenClip"}


def _tokenizer_files(files: Files) -> list[str]:
    """Return the names of the tokenizer's files.

    Raises:
        CheckpointError: The vocabulary is missing, which open_clip bundles or downloads from another repository.
    """
    names = [name for name in TOKENIZER_FILES if name in files.listing]
    if VOCABULARIES.isdisjoint(names):
        text = read_json(files, _CONFIG).get("model_cfg", {}).get("text_cfg", {})
        source = text.get("hf_tokenizer_name") or "openai/clip-vit-large-patch14"
        raise CheckpointError(f"{files.name}: the tokenizer's files are missing; pass tokenizer={source!r}")
    return names


def _weight_files(files: Files) -> list[str]:
    """Return the name of the safetensors file, in a list of one.

    Raises:
        CheckpointError: The checkpoint has no safetensors file; pickles are refused, since loading one can run code.
    """
    found = next((name for name in _WEIGHTS if name in files.listing), None)
    if found:
        return [found]
    if pickle := pickles(files.listing):
        raise CheckpointError(
            f"{files.name}: the weights are a pickle only ({pickle}), and loading one can run any code; convert it: "
            f"safetensors.torch.save_file(torch.load({pickle!r}, weights_only=True), {_WEIGHTS[0]!r})"
        )
    raise CheckpointError(f"{files.name}: no weights; {_WEIGHTS[0]} is missing")


def _tensors(files: Files) -> Mapping[str, str]:
    (filename,) = _weight_files(files)
    return dict.fromkeys(tensor_names(files, filename), filename)


FORMAT = Format(
    name="open_clip",
    config_file=_CONFIG,
    rank=2,
    is_whole=lambda files: any(name in files.listing for name in _WEIGHTS),
    prefixes=("hf-hub:", "local-dir:"),
    family=_family,
    vision=_vision,
    text=_text,
    preprocessor_config=_preprocessor_config,
    tokenizer_files=_tokenizer_files,
    weight_files=_weight_files,
    tensors=_tensors,
)
