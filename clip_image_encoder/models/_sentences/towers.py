"""Text towers of sentence-transformers: an encoder of tokens, and modules that make one vector of them.

    token ids (n, length) ─Transformer─▶ (n, length, width) ─Pooling─▶ (n, width) ─Dense, Normalize─▶ (n, d)

A checkpoint lists its modules; any number of Dense and Normalize follow the pooling, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._family import TextSpec, TextTokenizer, TokenizerFiles, Weights
from clip_image_encoder.models._sentences.normalized import unit
from clip_image_encoder.models._sentences.poolings import POOLINGS, pooling_mode
from clip_image_encoder.models._tokens import FastTokenizer, read_json_tokenizer
from clip_image_encoder.models._transformers import build_model

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower

__all__ = ["ENCODERS", "Module", "text_spec"]

_Step: TypeAlias = "Callable[[Any, Tensor], Tensor]"

ENCODERS = {
    "albert": "AlbertModel",
    "bert": "BertModel",
    "camembert": "CamembertModel",
    "distilbert": "DistilBertModel",
    "electra": "ElectraModel",
    "mpnet": "MPNetModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
}
"""Names of the classes of transformers that encode texts, by `model_type`."""

_BEHIND_THE_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")
"""Types of encoders that count the positions of tokens from the padding's id + 1."""

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "torch.nn.modules.activation.ReLU": lambda vectors: vectors.relu(),
    "torch.nn.modules.activation.Tanh": lambda vectors: vectors.tanh(),
    "torch.nn.modules.linear.Identity": lambda vectors: vectors,
}


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of a checkpoint of sentence-transformers.

    Attributes:
        kind: Name of the module's class, such as "Pooling"; with the name of the Python module if the class is not of
            sentence-transformers.
        folder: Name of the folder with the module's files; "" for the checkpoint's own folder.
        config: Parsed `config.json` of the module.
    """

    kind: str
    folder: str
    config: Mapping[str, Any]


def text_spec(modules: Sequence[Module], *, length: int | None, lower_case: bool, name: str) -> TextSpec:
    """Return the text tower that is made of modules.

    Args:
        modules: Modules in order: a Transformer, a Pooling, and any number of Dense and Normalize.
        length: Number of tokens at which the checkpoint cuts texts; None is the number that the encoder reads.
        lower_case: Whether texts are lower-cased before the tokenizer does what its files say.
        name: Name of the checkpoint for error messages.

    Raises:
        CheckpointError: A module has settings that are not supported.
    """
    encoder, pooling, *behind = modules
    model_type = str(encoder.config.get("model_type"))
    if model_type not in ENCODERS:
        raise CheckpointError(f"{name}: no text tower on a {model_type!r}; supported are {', '.join(ENCODERS)}")
    pool = POOLINGS[pooling_mode(pooling.config, name=f"{name}: {pooling.folder}")]
    steps = [_step(module, str(place), name) for place, module in enumerate(behind)]
    readable = _positions(model_type, encoder.config, name)
    return TextSpec(
        max_length=readable if length is None else min(length, readable),
        padding="longest",
        tokenizer=_lower_cased if lower_case else None,
        load=partial(_load, encoder.config, pool, steps),
    )


def _positions(model_type: str, config: Mapping[str, Any], name: str) -> int:
    """Return the number of tokens that an encoder has positions for.

    Raises:
        CheckpointError: The config's values are not integers.
    """
    positions, padding = config.get("max_position_embeddings", 512), config.get("pad_token_id", 1)
    if not isinstance(positions, int) or not isinstance(padding, int):
        raise CheckpointError(f"{name}: config.json needs max_position_embeddings and pad_token_id, both numbers")
    return positions - padding - 1 if model_type in _BEHIND_THE_PADDING else positions


@dataclass(frozen=True, kw_only=True)
class _Dense:
    """A linear layer with its activation.

    Attributes:
        key: Key of the layer in the tower's modules.
        folder: Name of the folder with the layer's files, as in `Module`.
        width: Length of the vectors that the layer takes.
        dimension: Length of the vectors that it returns.
        bias: Whether the layer has a bias.
        activation: Function that is applied to the layer's result.
    """

    key: str
    folder: str
    width: int
    dimension: int
    bias: bool
    activation: Callable[[Tensor], Tensor]

    def __call__(self, model: Any, vectors: Tensor) -> Tensor:
        return self.activation(model[self.key](vectors))


def _step(module: Module, key: str, name: str) -> _Step:
    """Return the function that a module after the pooling applies to vectors.

    Raises:
        CheckpointError: The module has settings that are not supported.
    """
    config, place = module.config, f"{name}: {module.folder}"
    for field in ("module_input_name", "module_output_name"):
        if config.get(field) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{place} has {field} {config[field]!r}; supported is 'sentence_embedding'")
    if module.kind == "Normalize":
        return _normalize
    if config.get("use_residual"):
        raise CheckpointError(f"{place} has use_residual, which is not supported")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in _ACTIVATIONS:
        raise CheckpointError(
            f"{place} has activation_function {activation!r}; supported are {', '.join(_ACTIVATIONS)}"
        )
    try:
        width, dimension = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{place}: config.json needs in_features and out_features, both numbers") from error
    return _Dense(
        key=key,
        folder=module.folder,
        width=width,
        dimension=dimension,
        bias=config.get("bias", True),
        activation=_ACTIVATIONS[activation],
    )


def _normalize(_model: Any, vectors: Tensor) -> Tensor:
    return unit(vectors)


def _load(
    config: Mapping[str, Any], pool: Callable[[Tensor, Tensor], Tensor], steps: Sequence[_Step], weights: Weights
) -> TextTower:
    from torch import nn

    from clip_image_encoder.models._towers import TextTower, build

    encoder = build_model(ENCODERS[config["model_type"]], config, None, name=weights.name)
    # The encoder's own pooling, a layer on top of the first token, is not used.
    encoder.pooler = None
    weights.fill(encoder, prefixes=("", f"{encoder.base_model_prefix}."))
    model, dimension = nn.ModuleDict({"encoder": encoder}), encoder.config.hidden_size
    for step in steps:
        if not isinstance(step, _Dense):
            continue
        if step.width != dimension:
            raise CheckpointError(
                f"{weights.name}: {step.folder} takes vectors of length {step.width}, those before it have {dimension}"
            )
        layer = build(partial(nn.Linear, step.width, step.dimension, bias=step.bias))
        weights.fill(layer, prefixes=(f"{step.folder}/linear.",))
        model[step.key], dimension = layer, step.dimension
    return TextTower(model, partial(_vectors, pool, steps), dimension=dimension)


def _vectors(
    pool: Callable[[Tensor, Tensor], Tensor],
    steps: Sequence[_Step],
    model: Any,
    token_ids: Tensor,
    attention_mask: Tensor | None,
) -> Tensor:
    tokens = model["encoder"](input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
    vectors = pool(tokens, token_ids.new_ones(token_ids.shape) if attention_mask is None else attention_mask)
    for step in steps:
        vectors = step(model, vectors)
    return vectors


def _lower_cased(files: TokenizerFiles) -> TextTokenizer:
    """Return the tokenizer of `tokenizer.json`, changed so that it lower-cases texts first.

    Raises:
        ValueError: The `tokenizer.json` is missing.
    """
    from tokenizers import normalizers

    tokenizer = read_json_tokenizer(files)
    if tokenizer is None:
        raise ValueError("tokenizer.json is missing; save the tokenizer with transformers' save_pretrained")
    lower: normalizers.Normalizer = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([lower, tokenizer.normalizer]) if tokenizer.normalizer else lower
    return FastTokenizer(tokenizer, files, rule="lower case")
