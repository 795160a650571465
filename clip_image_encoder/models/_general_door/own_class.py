"""Finds the class of transformers that computes a checkpoint of no family, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from clip_image_encoder._messages import first_line, missing_package
from clip_image_encoder.errors import CheckpointError, ConfigurationError, MissingExtraError
from clip_image_encoder.models._transformers import own_module

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["OwnClass", "find_own_class", "own_image_processor", "transformers_knows"]

_TOKENS = "its image features are tokens for a language model, no vector of an image"
_LANGUAGE = "it is a language model, which gives no vector of an image"
_OBJECTS = "it finds objects in images, and gives no vector of an image"
_BACKBONE = "it is built on another checkpoint, its backbone, which transformers would fetch"
_OUTLINES = "it finds the outlines of objects, and gives no vector of an image"
# Why a model gives no vector, by the mapping of transformers that lists it; the mappings differ between versions.
_PURPOSES = {
    "IMAGE_TEXT_TO_TEXT": _TOKENS,
    "VISION_2_SEQ": _TOKENS,
    "MULTIMODAL_LM": _LANGUAGE,
    "VIDEO_CLASSIFICATION": "it takes videos, no images",
    "OBJECT_DETECTION": _OBJECTS,
    "ZERO_SHOT_OBJECT_DETECTION": _OBJECTS,
    "MASK_GENERATION": _OUTLINES,
    "UNIVERSAL_SEGMENTATION": _OUTLINES,
    "DEPTH_ESTIMATION": "it estimates depth, and gives no vector of an image",
    "IMAGE_TO_IMAGE": "it makes images of images, and gives no vector of an image",
    "KEYPOINT_DETECTION": "it finds points in images, and gives no vector of an image",
    "KEYPOINT_MATCHING": "it compares the points of two images, and gives no vector of an image",
}
# Reasons that hold for every class of a model; models of the other purposes may have a class that gives a vector.
_SURE = frozenset({_TOKENS, _LANGUAGE, _OUTLINES})
# Fields that say how a model is run, or where transformers downloads code or weights, not what is computed.
_NOT_OF_THE_MODEL = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "_experts_implementation",
        "attn_implementation",
        "dtype",
        "experts_implementation",
        "fusion_config",
        "kernel_config",
        "torch_dtype",
        "transformers_weights",
        "use_kernels",
    }
)


@dataclass(frozen=True, kw_only=True)
class OwnClass:
    """A class of transformers with a checkpoint's config for it.

    Attributes:
        kind: Class of the model, such as `ConvNextModel`.
        values: Config of the checkpoint as an object of transformers.
        model_type: Value of the config's `model_type`.
        name: Name of the checkpoint for error messages.
    """

    kind: type[PreTrainedModel]
    values: PretrainedConfig
    model_type: str
    name: str

    @property
    def label(self) -> str:
        """Name of the class for error messages and a backend's `repr`, such as "transformers' ConvNextModel"."""
        return f"transformers' {self.kind.__name__}"

    def refusal(self, reason: str) -> CheckpointError:
        """Return the error that the class gives no vector, with the purpose of its models as the reason if it is known.

        Args:
            reason: Reason if the purpose is not known, as a predicate of the class, such as "takes no images".
        """
        purpose = None if _compares(self.kind) else _purpose(self.model_type)
        return _refusal(self.name, self.model_type, purpose or f"{self.label} {reason}")

    def without_weights(self) -> PreTrainedModel:
        """Return a model of the class without weights, on torch's meta device.

        Raises:
            MissingExtraError: The class needs a package that is not installed.
            CheckpointError: The class can't be built with the config's values.
        """
        from clip_image_encoder.models._towers import build

        try:
            return build(lambda: self.kind(deepcopy(self.values)))
        except ImportError as error:
            raise _lacking(error, self.name, self.model_type) from error
        except Exception as error:  # a class may raise anything on values that it can't be built with
            raise _invalid(self.name, error) from error


def transformers_knows(config: Mapping[str, Any]) -> bool:
    """Tell whether the installed transformers has a model for a parsed `config.json`; it is imported to find out."""
    return _config_class(config) is not None


def own_image_processor(model_type: str) -> str | None:
    """Return the name of transformers' image processor for a `model_type`, or None if it has none."""
    from transformers.models.auto import image_processing_auto

    names: Any = vars(image_processing_auto)["IMAGE_PROCESSOR_MAPPING_NAMES"].get(model_type)
    # transformers 5 names a class for Pillow and one for torchvision, transformers 4 a slow and a fast class.
    each = names.values() if isinstance(names, Mapping) else (names,) if isinstance(names, str) else names or ()
    return next((str(name) for name in each if name), None)


def find_own_class(config: Mapping[str, Any], *, name: str) -> OwnClass:
    """Return the class that transformers runs a checkpoint with.

    It is the class that the file was saved by if that compares images with texts, or if `AutoModel` has no class for
    the `model_type`; else it is the class of `AutoModel`.

    Args:
        config: Parsed `config.json`, with a `model_type` that transformers knows.
        name: Name of the checkpoint for error messages.

    Raises:
        MissingExtraError: The class needs a package that is not installed.
        CheckpointError: No such class exists, or the config is invalid.
    """
    model_type = config["model_type"]
    words = _purpose(model_type)
    if words in _SURE:
        raise _refusal(name, model_type, words)
    if _names_a_backbone(config):
        raise _refusal(name, model_type, words or _BACKBONE)
    try:
        config_class = _config_class(config)
        assert config_class is not None
        values = config_class.from_dict(_of_the_model(config))
        registered = own_module().MODEL_MAPPING.get(type(values), None)
        saved_by = _saved_by(config, type(values))
    except ImportError as error:
        raise _lacking(error, name, model_type) from error
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise _invalid(name, error) from error
    if _names_a_backbone(values.to_dict()):
        raise _refusal(name, model_type, words or _BACKBONE)
    automatic = registered[0] if isinstance(registered, tuple) else registered
    kind = saved_by if automatic is None or _compares(saved_by) else automatic
    if kind is None:
        raise _refusal(name, model_type, words or "transformers has no class for it that gives a vector of an image")
    return OwnClass(kind=kind, values=values, model_type=model_type, name=name)


def _of_the_model(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _NOT_OF_THE_MODEL}
    return {key: _of_the_model(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def _names_a_backbone(config: Mapping[str, Any]) -> bool:
    """Tell whether a part of a model is given by a name on the hub or in timm, from where its weights would come."""
    if isinstance(config.get("backbone"), str) or config.get("use_timm_backbone"):
        return True
    return any(_names_a_backbone(part) for part in config.values() if isinstance(part, Mapping))


def _config_class(config: Mapping[str, Any]) -> type[PretrainedConfig] | None:
    """Return the class of a config, or None if transformers has none.

    transformers 4 registers no class for the towers of some models; theirs is found through the model's class.
    """
    known: Mapping[str, type[PretrainedConfig]] = own_module().CONFIG_MAPPING
    model_type = str(config.get("model_type"))
    if model_type in known:
        return known[model_type]
    found = (kind.config_class for kind in _architectures(config))
    return next((values for values in found if values.model_type == model_type), None)


def _saved_by(config: Mapping[str, Any], values: type[PretrainedConfig]) -> type[PreTrainedModel] | None:
    """Return the model class that a file says it was saved by, if it is one for this class of configs, or None."""
    return next((kind for kind in _architectures(config) if kind.config_class is values), None)


def _architectures(config: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the model classes of transformers that a file says it was saved by."""
    for architecture in config.get("architectures") or ():
        found = getattr(own_module(), str(architecture), None)
        if isinstance(getattr(found, "config_class", None), type):
            yield found


def _compares(kind: type | None) -> bool:
    return hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")


def _purpose(model_type: str) -> str | None:
    """Return why a model gives no vector of an image, from the purpose that transformers lists it for, or None."""
    from transformers.models.auto import modeling_auto

    for task, words in _PURPOSES.items():
        if model_type in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", ()):
            return words
    return None


def _refusal(name: str, model_type: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{name}: a model of type {model_type!r} is not supported: {reason}")


def _invalid(name: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{name}: config.json is invalid: {shorten(first_line(error), 200)}")


def _lacking(error: ImportError, name: str, model_type: str) -> ConfigurationError:
    """Return the error that transformers needs another package, or that the model gives no vector even with it."""
    words = _purpose(model_type)
    package = missing_package(error)
    if words or package is None:
        return _refusal(name, model_type, words or first_line(error))
    return MissingExtraError(
        f"{name}: transformers computes a model of type {model_type!r} with {package}: python -m pip install {package}"
    )
