"""What a model family says of itself: how its config is read, and how its towers are loaded."""

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
    """The tensors of one checkpoint, in the dtype that they are loaded in."""

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        ...

    def __contains__(self, name: str, /) -> bool:
        """Tell whether a tensor of that name is stored."""
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
            module: Built by `build`, on the meta device; afterwards on the CPU, without gradients.
            prefixes: What the names in the file may start with before the module's own names.
            old_names: Regular expressions and replacements that turn the module's names into those of older files.
            part: Called with the module's name of a tensor, its name in the file and the tensor; returns what
                belongs to the module, where a file keeps two tensors as one. None takes each as it is.

        Raises:
            CheckpointError: Tensors are missing, have another shape, are quantized, or the file is damaged.
        """
        ...

    def read_all(self) -> dict[str, Tensor]:
        """Return every tensor on the CPU, by its name in the file, for a network that knows its names by itself.

        Raises:
            CheckpointError: Tensors are quantized, or a file is damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class VisionSpec:
    """The vision tower of a checkpoint, as its config describes it.

    Attributes:
        image_size: `(height, width)` in pixels that it was trained at.
        patch_size: Side of a patch in pixels; 1 for a network of convolutions, which has none.
        any_size: Whether its position embeddings are made to be resized to other sizes.
        outputs: What it can give: "pooled", "tokens", or both.
        prefix_tokens: Number of class and register tokens before the patches.
        dimension: Length of a vector, where the config says it; None where only the weights do.
        through: Whose code computes the tower, where no family's file of this package does, such as
            "transformers' ConvNextModel"; it runs in PyTorch only. None where a family's file does.
        load: Builds the tower and fills it with weights; called once for each device. One layer of the tower, its
            only `nn.Conv2d` or an `nn.Linear` named `patch_embedding`, sees the patches first: it is changed so
            that it takes bytes, and normalizes them. A `VisionTower(pixels="normalized")` needs no such layer.
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
        """Check that the tower takes pixels of a size.

        Args:
            image_size: `(height, width)` in pixels; None is any size whose sides patches fill.
            name: The checkpoint as messages call it.

        Raises:
            ConfigurationError: It takes another size.
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
    """The files of a checkpoint's tokenizer.

    Attributes:
        paths: Where each file lies, by its name, such as "tokenizer.json".
        settings: What `tokenizer_config.json` says, and of special tokens what `special_tokens_map.json` adds to it.
    """

    paths: Mapping[str, Path]
    settings: Mapping[str, Any]

    def token(self, role: str) -> str | None:
        """Return the special token of a role, such as "pad_token", or None where the files name none."""
        value = self.settings.get(role)
        content = value.get("content") if isinstance(value, Mapping) else value
        return content if isinstance(content, str) else None


class TextTokenizer(Protocol):
    """Turns one text into token ids, and says how a batch of them is padded. It may be called from several threads."""

    @property
    def special_tokens(self) -> int:
        """Number of special tokens around a text."""
        ...

    @property
    def padding_id(self) -> int:
        """The id that texts are filled up with."""
        ...

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """Where texts are filled up."""
        ...

    @property
    def truncation_side(self) -> Literal["right", "left"]:
        """Where texts are cut that are too long."""
        ...

    @property
    def rule(self) -> str:
        """What is done to texts that the files don't say, for the fingerprint; "" for nothing."""
        ...

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the ids of a text, special tokens included.

        Args:
            text: Of any length.
            max_length: Number of ids at which the text is cut; more than `special_tokens`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """The text tower of a checkpoint, and how its texts are prepared.

    Attributes:
        max_length: Number of tokens that it reads, special ones included.
        padding: "longest" fills the texts of a batch up to the longest of them; "max_length" fills them up to
            what the tower reads, for towers that attend to the padding.
        clean: Changes a text as the training did before it became tokens; None leaves it alone.
        compared_by: What the training made probabilities with: "softmax" over all texts of an image, or "sigmoid"
            of each pair.
        tokenizer: Makes a tokenizer of a checkpoint's files, a function at the top of a module; it returns None where
            the files say all. None leaves it to the files.
        through: Whose code computes the tower, as in `VisionSpec`.
        load: Builds the tower and fills it with weights; called once for each device.
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
    """One family of models.

    Attributes:
        name: As messages call it.
        model_types: The values of `model_type` in `config.json` that are this family's, and which towers such
            a checkpoint has: "both", "vision" or "text".
        vision: Reads the vision tower off a parsed `config.json`.
        text: Reads the text tower off a parsed `config.json`; None where the family has none.
        image_processor: The class of transformers that reads an image processor's file which names no class.

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
