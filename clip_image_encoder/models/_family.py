"""The interface of a model family: what its file declares, and what the package gives it to load a tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["Family", "TextSpec", "TextTokenizer", "TokenizerFiles", "VisionSpec", "Weights"]


class Weights(Protocol):
    """The tensors of one checkpoint, which a family fills its towers with."""

    @property
    def name(self) -> str:
        """Name of the checkpoint for error messages."""
        ...

    def __contains__(self, name: str, /) -> bool:
        """Tell whether the checkpoint has a tensor of that name."""
        ...

    def fill(
        self,
        module: nn.Module,
        *,
        prefixes: Sequence[str] = ("",),
        old_names: Sequence[tuple[str, str]] = (),
        part: Callable[[str, str, Tensor], Tensor] | None = None,
    ) -> None:
        """Fill a module that was built without memory with its own tensors.

        Args:
            module: Module from `build`, on the meta device; afterwards its tensors are on the CPU, without gradients.
            prefixes: Prefixes that the file may put in front of the module's names, tried in order for each tensor.
            old_names: Pairs of a regular expression and its replacement, applied in order, that turn the module's
                names into those of older files.
            part: Function of a tensor's name in the module, its name in the file and the tensor; returns what belongs
                to the module, where a file stores several tensors as one. None takes each tensor as it is.

        Raises:
            CheckpointError: A tensor is missing, has another shape or is quantized, a tensor of one of the module's
                layers would be left out, or the file is damaged.
        """
        ...

    def read_all(self) -> dict[str, Tensor]:
        """Return every tensor on the CPU, by its name in the file, for a network that finds its tensors by itself.

        Raises:
            CheckpointError: A tensor is quantized, or a file is damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class VisionSpec:
    """The vision tower of a checkpoint, as its config describes it.

    Attributes:
        image_size: Size of the images that the tower was trained on, `(height, width)` in pixels.
        patch_size: Side of a patch in pixels; 1 for a convolutional network, which has no patches.
        any_size: Whether the tower takes images of other sizes, for which its positions are resized; False by default.
        outputs: Set of what the tower can return: "pooled", "tokens", or both, which is the default.
        prefix_tokens: Number of class and register tokens in front of the patch tokens.
        dimension: Length of a vector; None, the default, if only the weights tell it.
        through: Name of the code that computes the tower where no family's file does, such as
            "transformers' ConvNextModel"; such a tower runs in PyTorch only. None, the default, is a family's file.
        load: Function that builds the tower and fills it with weights; called once for each device. The tower has
            exactly one `nn.Conv2d`, or an `nn.Linear` named `patch_embedding`, through which the pixels enter: the
            backend replaces it by a layer that takes bytes and normalizes them. A
            `VisionTower(pixels="normalized")` needs no such layer.
    """

    image_size: tuple[int, int]
    patch_size: int
    any_size: bool = False
    outputs: frozenset[Output] = frozenset({"pooled", "tokens"})
    prefix_tokens: int
    dimension: int | None = None
    through: str | None = None
    load: Callable[[Weights], VisionTower]

    def check_size(self, image_size: tuple[int, int] | None, *, name: str) -> None:
        """Check that the tower takes images of the size that a preprocess makes.

        Args:
            image_size: Size of the images, `(height, width)` in pixels; None if each image may have its own.
            name: Name of the checkpoint for error messages.

        Raises:
            ConfigurationError: The tower takes images of another size.
        """
        if image_size == self.image_size or (image_size is None and self.any_size):
            return
        if self.any_size and image_size and all(side % self.patch_size == 0 for side in image_size):
            return
        wanted = f"multiples of {self.patch_size}" if self.any_size else f"{self.image_size}"
        raise ConfigurationError(
            f"{name} takes pixels of size {wanted}, the preprocess makes {image_size or 'any size'}"
        )

    def patches(self, image_size: tuple[int, int]) -> int:
        """Return the number of patches of an image of `(height, width)` pixels."""
        height, width = image_size
        return (height // self.patch_size) * (width // self.patch_size)


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """The files of a checkpoint's tokenizer, from which a family makes it.

    Attributes:
        paths: Path of each file by its name, such as "tokenizer.json".
        settings: Content of `tokenizer_config.json`, with the special tokens of `special_tokens_map.json` added to it.
    """

    paths: Mapping[str, Path]
    settings: Mapping[str, Any]

    def token(self, role: str) -> str | None:
        """Return the special token of a role, such as "pad_token", or None if the files name none."""
        value = self.settings.get(role)
        content = value.get("content") if isinstance(value, Mapping) else value
        return content if isinstance(content, str) else None


class TextTokenizer(Protocol):
    """A tokenizer, which turns one text into token ids and says how a batch of them is padded.

    It may be called from several threads.
    """

    @property
    def special_tokens(self) -> int:
        """Number of special tokens that are added to each text."""
        ...

    @property
    def padding_id(self) -> int:
        """Token id that shorter texts of a batch are padded with."""
        ...

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """Side on which shorter texts of a batch are padded."""
        ...

    @property
    def truncation_side(self) -> Literal["right", "left"]:
        """Side on which texts that are too long are cut."""
        ...

    @property
    def rule(self) -> str:
        """Name of what is done to texts beyond what the files say, for the fingerprint; "" for nothing."""
        ...

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the token ids of a text, special tokens included.

        Args:
            text: Text of any length.
            max_length: Largest number of ids, more than `special_tokens`; longer texts are cut to it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """The text tower of a checkpoint, and how its texts are prepared.

    Attributes:
        max_length: Largest number of tokens that the tower reads, special ones included.
        padding: How the texts of a batch are padded: "longest" to the longest of them; "max_length" to `max_length`
            tokens, for towers that attend to the padding.
        clean: Function that cleans a text before it is tokenized, as the training did; None, the default, leaves it
            as it is.
        compared_by: How the training turned similarities into probabilities: "softmax" over all texts of an image,
            the default, or "sigmoid" of each pair.
        tokenizer: Function that makes the tokenizer from its files, defined at the top of a module so that it
            pickles. None, the default, reads the files as they are; so does a function that returns None.
        through: Name of the code that computes the tower, like `VisionSpec.through`; None, the default, is a family's
            file.
        load: Function that builds the tower and fills it with weights; called once for each device.
    """

    max_length: int
    padding: Literal["longest", "max_length"]
    clean: Callable[[str], str] | None = None
    compared_by: Literal["softmax", "sigmoid"] = "softmax"
    tokenizer: Callable[[TokenizerFiles], TextTokenizer | None] | None = None
    through: str | None = None
    load: Callable[[Weights], TextTower]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models: which checkpoints it supports, and how it reads their towers.

    Attributes:
        name: Name of the family for error messages and listings.
        model_types: Values of `model_type` in `config.json` that the family supports, each with the towers that such a
            checkpoint has: "both", "vision" or "text".
        vision: Function that reads the vision tower from a parsed `config.json`.
        text: Function that reads the text tower from a parsed `config.json`; None, the default, if the family has none.
        image_processor: Name of the class of transformers that prepares images, for checkpoints whose preprocessor
            file names none; "CLIPImageProcessor" by default.

    Example:
        >>> from clip_image_encoder.models import find_family
        >>> find_family("dinov2").name
        'DINOv2'
    """

    name: str
    model_types: Mapping[str, Literal["both", "vision", "text"]]
    vision: Callable[[Mapping[str, Any]], VisionSpec]
    text: Callable[[Mapping[str, Any]], TextSpec] | None = None
    image_processor: str = "CLIPImageProcessor"
