"""Parsing of an image processor's file, `preprocessor_config.json`, into the fields of a `ClipPreprocess`.

A key of the file is one of four kinds:

- It tells how images are resized, cropped, scaled and normalized. It is read.
- It is a step that resizing, a center crop, mean and std can't express: any other `do_...`, and the keys in
  `_OTHER_STEPS`. The file is refused if the step is switched on.
- It is a step that changes no pixel of an RGB image, one of `_HARMLESS_STEPS`. It is ignored.
- It is anything else, such as `return_tensors` or a note of the file's author. It is ignored, as transformers ignores
  a key that its class does not know.

A key with the value null counts as missing, and a missing key has the default of the class. A class that is not in
`_DEFAULTS` is refused even if its file has every key: some classes have another order of steps (Perceiver), or compute
other sizes (LeViT), which no key tells.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from PIL.Image import Resampling

from clip_image_encoder.errors import ConfigurationError

__all__ = ["CLASS_ENDING", "CLIP_MEAN", "CLIP_STD", "is_known", "named_class", "read_processor_file"]

CLASS_ENDING = re.compile(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$")
"""Ending of the name of an image processor in transformers; one class has several names that differ in the ending."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_READ_STEPS = frozenset({"do_resize", "do_center_crop", "do_rescale", "do_normalize"})
_HARMLESS_STEPS = frozenset({"do_convert_annotations", "do_convert_rgb", "do_reduce_labels"})
_OTHER_STEPS = frozenset(
    {
        "crop_pct",  # ConvNeXT, PoolFormer
        "crop_to_patches",  # GOT-OCR 2
        "ensure_multiple_of",  # DPT
        "image_grid_pinpoints",  # LLaVA-NeXT
        "include_top",  # EfficientNet
        "interpolation",  # open_clip and timm
        "keep_aspect_ratio",  # DPT
        "max_num_patches",  # SigLIP 2
        "max_pixels",  # Qwen2-VL
        "min_pixels",  # Qwen2-VL
        "rescale_offset",  # EfficientNet
        "resize_mode",  # open_clip
        "size_divisor",  # GLPN, BridgeTower
        "use_square_size",  # KOSMOS-2
    }
)

_CLIP_STATISTICS = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}
_HALVES = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_CLIP = {
    "size": 224,
    "default_to_square": False,  # one number as `size` is the short side; True: both sides
    "do_center_crop": True,
    "crop_size": 224,
    "resample": Resampling.BICUBIC,
    **_CLIP_STATISTICS,
}
# Defaults of transformers' classes for keys that are missing, by the name without ImageProcessor.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "Bit": _CLIP,
    "Blip": {"size": 384, "default_to_square": True, "resample": Resampling.BICUBIC, **_CLIP_STATISTICS},
    "CLIP": _CLIP,
    "ChineseCLIP": _CLIP,
    # transformers resizes floats with torchvision here, so that pixels differ by rounding.
    "DINOv3ViT": {"size": 224, "default_to_square": True, "resample": Resampling.BILINEAR, **_IMAGENET},
    "DeiT": {
        "size": 256,
        "default_to_square": True,
        "do_center_crop": True,
        "crop_size": 224,
        "resample": Resampling.BICUBIC,
        **_HALVES,
    },
    # Its filter is nearest by default in transformers 4 and bicubic in 5, so that the file has to name it.
    "EfficientNet": {
        "size": 346,
        "default_to_square": True,
        "crop_size": 289,
        "rescale_offset": False,
        "include_top": True,
        **_HALVES,
    },
    "Siglip": {
        "size": {"height": 224, "width": 224},
        "default_to_square": False,
        "resample": Resampling.BICUBIC,
        **_HALVES,
    },
    "Siglip2": {
        "max_num_patches": None,
        "default_to_square": True,
        "patch_size": 16,
        "resample": Resampling.BILINEAR,
        **_HALVES,
    },
    "ViT": {"size": 224, "default_to_square": True, "resample": Resampling.BILINEAR, **_HALVES},
}


def read_processor_file(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the `ClipPreprocess` that a processor's file describes.

    Args:
        config: Parsed `preprocessor_config.json`.

    Raises:
        ConfigurationError: The file asks for an unknown step, or lacks a key that is needed.
        TypeError: A value is not a number where a number is needed.
        ValueError: A value is out of its range.
        ArithmeticError: The rescale factor is 0, or a number is too large.
    """
    values = _values(config)
    resizes, crops = values.get("do_resize", True), values.get("do_center_crop", False)
    resize = _resize(values) if resizes else None
    crop = _height_width(_needed(values, "crop_size"), "crop_size") if crops else None
    if crop is None and not isinstance(resize, tuple):
        what = f"size={values['size']!r}" if resizes else "do_resize=False"
        raise _refusal(f"{what} without do_center_crop gives pixels that are not all of one size")
    resample = _resample(_needed(values, "resample") if resizes else values.get("resample", Resampling.BICUBIC))
    mean, std = _statistics(values)
    return {"resize": resize, "crop": crop, "resample": resample, "mean": mean, "std": std}


def is_known(config: Mapping[str, Any]) -> bool:
    """Tell whether the steps of a file's class are known; a file that names no class is read as one of CLIP.

    Example:
        >>> from clip_image_encoder.preprocess._processor_file import is_known
        >>> is_known({"image_processor_type": "ViTImageProcessorFast"}), is_known({"image_processor_type": "Levit"})
        (True, False)
    """
    return _kind(config) in _DEFAULTS


def named_class(config: Mapping[str, Any]) -> object:
    """Return the name of the class as a processor's file contains it; old files call it a feature extractor."""
    return config.get("image_processor_type") or config.get("feature_extractor_type")


def _kind(config: Mapping[str, Any]) -> str:
    return CLASS_ENDING.sub("", str(named_class(config) or "CLIP"))


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in the file, and the defaults of its class for the missing keys."""
    said = {key: value for key, value in config.items() if value is not None}
    name = named_class(said)
    kind = _kind(said)
    if "auto_map" in said and (name is None or kind not in _DEFAULTS):
        raise _refusal("its processor needs code of its own (auto_map), which is never executed")
    if kind not in _DEFAULTS:
        raise _refusal(f"what {reprlib.repr(name)} does is not known (known are {', '.join(_DEFAULTS)})")
    known = _READ_STEPS | _HARMLESS_STEPS | set(_DEFAULTS[kind])
    for key, value in said.items():
        if value and key not in known and (key.startswith("do_") or key in _OTHER_STEPS):
            raise _refusal(f"{key}={reprlib.repr(value)} is a step that ClipPreprocess does not know")
    return {**_DEFAULTS[kind], **said}


def _needed(values: Mapping[str, Any], key: str) -> Any:
    if key not in values:
        raise _refusal(f"{key} is missing", remedy="add it, or pass preprocess=")
    return values[key]


def _resize(values: Mapping[str, Any]) -> int | tuple[int, int]:
    patches = values.get("max_num_patches")
    if patches or "size" not in values:
        # SigLIP 2 "NaFlex": a square grid of patches gives all images one size. transformers writes no `size` here;
        # a `size` that was added by hand is the size of the pixels.
        side = int(int(patches or 256) ** 0.5) * int(values["patch_size"])
        return side, side
    size = values["size"]
    if isinstance(size, Mapping) and _said(size) == {"shortest_edge"}:
        return int(size["shortest_edge"])
    # Before 2022 the processors wrote one number: the short side in some classes, both sides in others.
    if isinstance(size, int) and not values["default_to_square"]:
        return size
    return _height_width(size, "size")


def _height_width(size: object, name: str) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and _said(size) == {"height", "width"}:
        return int(size["height"]), int(size["width"])
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    raise _refusal(f"can't read {name}={size!r}")


def _said(size: Mapping[str, object]) -> set[str]:
    return {key for key, value in size.items() if value is not None}


def _resample(value: Any) -> Resampling:
    try:
        return Resampling(value)
    except ValueError as error:
        raise _refusal(f"resample={value!r} is not the number of one of Pillow's filters") from error


def _statistics(values: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and std that both rescale and normalize pixels in 0..1."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if values.get("do_normalize", True):
        mean, std = _triple(values, "image_mean"), _triple(values, "image_std")
        _check_early_key(values, "mean", mean)
        _check_early_key(values, "std", std)
    if values.get("include_top"):  # EfficientNet divides by std a second time
        std = tuple(a * b for a, b in zip(std, _triple(values, "image_std"), strict=True))
    scale, offset = 255.0, 0
    if values.get("do_rescale", True):
        scale *= float(values.get("rescale_factor", 1 / 255))
        offset = 1 if values.get("rescale_offset") else 0
    if abs(scale - 1) < 1e-6:
        scale = 1.0
    # A pixel of 0..1 becomes (pixel * scale - offset - mean) / std.
    return tuple((value + offset) / scale for value in mean), tuple(value / scale for value in std)


def _check_early_key(values: Mapping[str, Any], key: str, used: tuple[float, ...]) -> None:
    """Refuse the keys `mean` and `std` of SigLIP's first files if they differ from those that transformers uses."""
    if key in values and _triple(values, key) != used:
        raise _refusal(
            f"transformers ignores {key}={values[key]!r} and takes {used}",
            remedy=f"name the right one image_{key}, or pass preprocess=",
        )


def _triple(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = values[key]
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return float(value[0]), float(value[1]), float(value[2])
    raise _refusal(f"{key} must be three numbers, not {value!r}")


def _refusal(reason: str, *, remedy: str = "pass preprocess= instead") -> ConfigurationError:
    return ConfigurationError(f"preprocessor_config.json: {reason}; {remedy}")
