"""The checkpoints of docs/how-to/choose-a-model.md: their towers, and what was published of them, with the source."""

from __future__ import annotations

from dataclasses import dataclass

from tests.programs.benchmarks import geometries as towers
from tests.programs.benchmarks.geometries import Tower

__all__ = ["IMAGE_ONLY", "IMAGE_TEXT", "ImageOnly", "ImageText"]

_OPEN_CLIP = "[open_clip][oc]"
"""docs/openclip_results.csv and docs/openclip_retrieval_results.csv of mlfoundations/open_clip at 89fb801."""

_BIG_VISION = "[big_vision][bv]"
"""big_vision/configs/proj/image_text/README_siglip2.md of google-research/big_vision."""

_APPLE = "[Apple][ap]"
"""results/mobileclip2_s0.jsonl and mobileclip2_s2.jsonl of apple/ml-mobileclip at 4144bb1."""

_DINOV2, _DINOV3 = "[card][d2]", "[card][d3]"
"""MODEL_CARD.md of facebookresearch/dinov2, and the cards of facebook/dinov3-* on the hub."""


@dataclass(frozen=True, kw_only=True)
class ImageText:
    """A checkpoint for images and texts.

    Attributes:
        name: Its name on the hub.
        tower: The shape of its vision tower.
        imagenet: Zero-shot top-1 accuracy on ImageNet in percent; None where no source was found.
        coco: Recall@1 of images by their captions in percent, on the 5,000 images of MSCOCO's test split; likewise.
        flickr: The same on the 1,000 images of Flickr30k's test split.
        source: Where these figures are from, as a Markdown link.
    """

    name: str
    tower: Tower
    imagenet: float | None = None
    coco: float | None = None
    flickr: float | None = None
    source: str = ""

    @property
    def figures(self) -> tuple[str, ...]:
        """The published figures as cells of a table."""
        return (*(_cell(value) for value in (self.imagenet, self.coco, self.flickr)), self.source or "-")


@dataclass(frozen=True, kw_only=True)
class ImageOnly:
    """A checkpoint for images alone.

    Attributes:
        name: Its name on the hub.
        tower: The shape of its vision tower.
        oxford: Mean average precision of instance retrieval on Oxford-Hard in percent.
        source: Where the figure is from, as a Markdown link.
    """

    name: str
    tower: Tower
    oxford: float
    source: str

    @property
    def figures(self) -> tuple[str, ...]:
        """The published figure as cells of a table."""
        return (_cell(self.oxford), self.source)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _open_clip(name: str, tower: Tower, imagenet: float, coco: float, flickr: float) -> ImageText:
    return ImageText(name=name, tower=tower, imagenet=imagenet, coco=coco, flickr=flickr, source=_OPEN_CLIP)


def _siglip2(name: str, tower: Tower, imagenet: float, coco: float) -> ImageText:
    return ImageText(name=name, tower=tower, imagenet=imagenet, coco=coco, source=_BIG_VISION)


def _mobileclip2(name: str, tower: Tower, imagenet: float, coco: float, flickr: float) -> ImageText:
    return ImageText(name=name, tower=tower, imagenet=imagenet, coco=coco, flickr=flickr, source=_APPLE)


IMAGE_TEXT = (
    _open_clip("openai/clip-vit-base-patch32", towers.CLIP_B_32, 63.32, 30.44, 58.78),
    _open_clip("openai/clip-vit-base-patch16", towers.CLIP_B_16, 68.34, 33.09, 62.16),
    _open_clip("openai/clip-vit-large-patch14", towers.CLIP_L_14, 75.54, 36.51, 64.96),
    _open_clip("openai/clip-vit-large-patch14-336", towers.CLIP_L_14_336, 76.56, 37.09, 66.90),
    _open_clip("facebook/metaclip-b32-400m", towers.CLIP_B_32, 65.58, 35.91, 62.34),
    _open_clip("facebook/metaclip-h14-fullcc2.5b", towers.CLIP_H_14, 80.51, 48.82, 78.34),
    _open_clip("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", towers.CLIP_B_32, 66.56, 39.34, 66.78),
    _open_clip("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", towers.CLIP_L_14, 75.25, 46.51, 75.52),
    _open_clip("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", towers.CLIP_H_14, 77.96, 49.48, 77.64),
    _open_clip("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", towers.CLIP_BIGG_14, 80.09, 51.37, 79.56),
    _open_clip("apple/DFN2B-CLIP-ViT-L-14", towers.CLIP_L_14, 81.41, 48.56, 75.46),
    _open_clip("apple/DFN5B-CLIP-ViT-H-14-378", towers.CLIP_H_14_378, 84.37, 55.64, 82.02),
    _mobileclip2("timm/MobileCLIP2-S0-OpenCLIP", towers.MOBILECLIP2_S0, 71.53, 43.68, 69.22),
    _mobileclip2("timm/MobileCLIP2-S2-OpenCLIP", towers.MOBILECLIP2_S2, 77.24, 48.82, 74.82),
    _open_clip("google/siglip-base-patch16-224", towers.SIGLIP_B_16, 76.04, 47.78, 74.68),
    _open_clip("google/siglip-base-patch16-256-multilingual", towers.SIGLIP_B_16_256, 75.13, 44.92, 72.16),
    _open_clip("google/siglip-so400m-patch14-384", towers.SIGLIP_SO400M_14_384, 83.08, 54.21, 82.96),
    _siglip2("google/siglip2-base-patch16-224", towers.SIGLIP_B_16, 78.2, 52.1),
    _siglip2("google/siglip2-so400m-patch14-384", towers.SIGLIP_SO400M_14_384, 84.1, 55.8),
    _siglip2("google/siglip2-so400m-patch16-naflex", towers.SIGLIP2_NAFLEX_SO400M_16, 83.5, 55.1),
    ImageText(name="facebook/metaclip-2-worldwide-huge-quickgelu", tower=towers.CLIP_H_14),
    ImageText(name="OFA-Sys/chinese-clip-vit-base-patch16", tower=towers.CLIP_B_16),
)

IMAGE_ONLY = (
    ImageOnly(name="facebook/dinov2-small", tower=towers.DINOV2_S_14, oxford=43.2, source=_DINOV2),
    ImageOnly(name="facebook/dinov2-base", tower=towers.DINOV2_B_14, oxford=49.5, source=_DINOV2),
    ImageOnly(name="facebook/dinov3-vits16-pretrain-lvd1689m", tower=towers.DINOV3_S_16, oxford=49.5, source=_DINOV3),
    ImageOnly(name="facebook/dinov3-vitb16-pretrain-lvd1689m", tower=towers.DINOV3_B_16, oxford=58.5, source=_DINOV3),
)
