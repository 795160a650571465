"""Processor files of the hub, by the values in them."""

from __future__ import annotations

from typing import Any

CLIP_STATISTICS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALF = [0.5, 0.5, 0.5]
CLIP_2021 = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "resample": 3,
    "size": 224,
    **CLIP_STATISTICS,
}
CLIP = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "CLIPImageProcessor",
    "processor_class": "CLIPProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
    **CLIP_STATISTICS,
}
SIGLIP_EARLIEST = {
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "SiglipImageProcessor",
    "processor_class": "SiglipProcessor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
SIGLIP = SIGLIP_EARLIEST | {"do_normalize": True, "resample": 3, "image_mean": HALF, "image_std": HALF}
DINOV3 = {
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "disable_grouping": None,
    "do_center_crop": None,
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "input_data_format": None,
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "return_tensors": None,
    "size": {"height": 224, "width": 224},
}
ALIGN = {
    "crop_size": {"height": 289, "width": 289},
    "do_center_crop": True,
    "do_normalize": False,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALF,
    "image_processor_type": "EfficientNetImageProcessor",
    "image_std": HALF,
    "include_top": False,
    "resample": 2,
    "rescale_factor": 0.00784313725490196,
    "rescale_offset": True,
    "size": {"height": 346, "width": 346},
}
DEIT_2021 = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "DeiTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 256,
}

# Files of the hub, by the values in them, and the class of transformers that reads each.
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "CLIP of 2021": ("CLIPImageProcessor", CLIP_2021),
    "CLIP of 2022": ("CLIPImageProcessor", CLIP_2021 | {"do_convert_rgb": True}),
    "CLIP": ("CLIPImageProcessor", CLIP),
    "CLIP, named by two classes": ("CLIPImageProcessor", CLIP | {"feature_extractor_type": "CLIPFeatureExtractor"}),
    "SigLIP": ("SiglipImageProcessor", SIGLIP),
    "SigLIP with early keys": (
        "SiglipImageProcessor",
        SIGLIP_EARLIEST | {"do_normalize": True, "resample": 3, "mean": HALF, "std": HALF},
    ),
    "SigLIP, earliest": ("SiglipImageProcessor", SIGLIP_EARLIEST),
    "SigLIP 2 of one size": ("SiglipImageProcessor", SIGLIP | {"resample": 2, "do_convert_rgb": None}),
    "DeiT of 2021": ("DeiTImageProcessor", DEIT_2021),
    "Chinese-CLIP": (
        "ChineseCLIPImageProcessor",  # in transformers 4 it can't do a short side
        CLIP | {"image_processor_type": "ChineseCLIPImageProcessor", "size": {"height": 224, "width": 224}},
    ),
    "BLIP": (
        "BlipImageProcessor",
        {"image_processor_type": "BlipImageProcessor", "size": {"height": 384, "width": 384}, **CLIP_STATISTICS},
    ),
}
