"""Text towers of sentence-transformers: an encoder, a pooling and what is behind it, against transformers and torch."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder import CheckpointError, TextEncoder
from clip_image_encoder.backends.torch import TorchTextBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models._sentences.poolings import POOLINGS
from clip_image_encoder.testing import check_text_backend

from .sentences import DistilBert, fill, modules_json, write_dense, write_json, write_pooling, write_tokenizer
from .test_ids import strings

TEXTS = ["a red circle", "the Red star", "", "漢字 on a 仮名", "e\u0301lan é 😀", "star " * 40]
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": ("Albert", SHAPE | {"embedding_size": 16}),
    "bert": ("Bert", SHAPE),
    "camembert": ("Camembert", SHAPE),
    "electra": ("Electra", SHAPE | {"embedding_size": 16}),
    "mpnet": ("MPNet", SHAPE),
    "roberta": ("Roberta", SHAPE),
    "xlm-roberta": ("XLMRoberta", SHAPE),
}
POSITIONS = 20


@pytest.fixture
def tower(tmp_path: Path) -> DistilBert:
    """A text tower, for a test to change."""
    return DistilBert(tmp_path)


def encode(folder: Path, texts: list[str] = TEXTS) -> NDArray[np.float32]:
    return TextEncoder(folder, device="cpu").encode(texts, normalize=False)


def assert_close(made: NDArray[np.float32], expected: Tensor) -> None:
    np.testing.assert_allclose(made, expected.numpy(), rtol=0, atol=1e-5)


def set_pooling(tower: DistilBert, **config: Any) -> None:
    """Give a tower another pooling, with nothing behind it."""
    write_pooling(tower.folder / "1_Pooling", tower.WIDTH, **config)
    modules_json(tower.folder, ("Transformer", ""), ("Pooling", "1_Pooling"))


def set_dense(tower: DistilBert, **config: Any) -> None:
    path = tower.folder / "2_Dense" / "config.json"
    write_json(path, json.loads(path.read_text()) | config)


@pytest.mark.parametrize("first", ["", "0_Transformer"])
def test_vectors_are_those_of_the_encoder_its_mean_and_the_dense_layer(tmp_path: Path, first: str) -> None:
    tower = DistilBert(tmp_path, first=first)
    made = encode(tower.folder)
    assert_close(made, tower.vectors(TEXTS))
    assert_close(made[:1], tower.vectors(TEXTS[:1]))
    assert np.abs(made[0] - made[1]).max() > 0.1


def test_ids_are_those_of_transformers_own_tokenizer(tower: DistilBert) -> None:
    encoder, texts = TextEncoder(tower.folder, device="cpu"), strings()
    expected = [tower.tokenizer(text, truncation=True, max_length=tower.length)["input_ids"] for text in texts]
    made = [encoder.tokenizer([text])[0][0].tolist() for text in texts]
    assert [text for text, ids, wanted in zip(texts, made, expected, strict=True) if ids != wanted] == []
    assert len(set(map(tuple, expected))) > len(texts) // 2


def test_ids_are_the_same_from_the_vocabulary_alone(tower: DistilBert) -> None:
    (tower.folder / "tokenizer.json").unlink()
    assert_close(encode(tower.folder), tower.vectors(TEXTS))


@pytest.mark.parametrize("model_type", ENCODERS)
def test_each_encoder_reads_tokens_as_transformers_does(model_type: str, tmp_path: Path) -> None:
    kind, shape = ENCODERS[model_type]
    config = getattr(transformers, f"{kind}Config")(vocab_size=60, max_position_embeddings=POSITIONS, **shape)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    fill(model)
    model.save_pretrained(tmp_path)
    write_pooling(tmp_path / "1_Pooling", 24)
    modules_json(tmp_path, ("Transformer", ""), ("Pooling", "1_Pooling"))
    padding = config.pad_token_id
    is_behind = model_type in ("camembert", "mpnet", "roberta", "xlm-roberta")
    backend = TorchTextBackend(open_checkpoint(tmp_path))
    assert backend.max_length == (POSITIONS - padding - 1 if is_behind else POSITIONS)
    ids = np.random.default_rng(0).integers(5, 60, (3, backend.max_length))
    mask = np.ones_like(ids)
    mask[1, 7:], mask[2, 1:] = 0, 0
    ids[mask == 0] = padding
    made = backend(ids, mask, device="cpu")
    for row, seen, vector in zip(ids, mask.sum(axis=1), made, strict=True):
        with torch.inference_mode():
            tokens = model(input_ids=torch.from_numpy(row[None, :seen])).last_hidden_state
        assert_close(vector[None], tokens.mean(dim=1))


def test_weights_that_were_saved_with_a_head_are_read(tmp_path: Path) -> None:
    config = transformers.BertConfig(vocab_size=60, max_position_embeddings=POSITIONS, **SHAPE)  # type: ignore[arg-type]
    model = transformers.BertForMaskedLM(config).eval()
    fill(model)
    model.save_pretrained(tmp_path)
    write_pooling(tmp_path / "1_Pooling", 24)
    modules_json(tmp_path, ("Transformer", ""), ("Pooling", "1_Pooling"))
    ids = torch.arange(5, 12)[None]
    with torch.inference_mode():
        expected = model.bert(input_ids=ids).last_hidden_state.mean(dim=1)
    backend = TorchTextBackend(open_checkpoint(tmp_path))
    assert_close(backend(ids.numpy(), np.ones((1, 7), np.int64), device="cpu"), expected)
    assert_close(backend(ids.numpy(), None, device="cpu"), expected)


POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda tokens: tokens.mean(dim=0),
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.amax(dim=0),
}


@pytest.mark.parametrize("mode", POOLED)
@pytest.mark.parametrize("is_old", [True, False])
def test_each_pooling_leaves_the_padding_out(tower: DistilBert, mode: str, is_old: bool) -> None:
    keys = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    old = {"word_embedding_dimension": 24, **{key: name == mode for name, key in keys.items()}}
    set_pooling(tower, **(old if is_old else {"embedding_dimension": 24, "pooling_mode": mode, "include_prompt": True}))
    tokens, mask = tower.tokens(TEXTS)
    expected = torch.stack([POOLED[mode](row[seen.bool()]) for row, seen in zip(tokens, mask, strict=True)])
    assert_close(encode(tower.folder), expected)


@pytest.mark.parametrize("mode", POOLED)
def test_each_pooling_leaves_padding_at_the_start_out(mode: str) -> None:
    tokens = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    expected = torch.stack([POOLED[mode](row[seen.bool()]) for row, seen in zip(tokens, mask, strict=True)])
    assert_close(POOLINGS[mode](tokens, mask).numpy(), expected)


def test_the_mean_of_a_long_text_fits_into_float16() -> None:
    tokens = torch.full((1, 2_000, 3), 60.0, dtype=torch.float16)
    mean = POOLINGS["mean"](tokens, torch.ones(1, 2_000, dtype=torch.int64))
    assert mean.dtype is torch.float16
    assert mean.tolist() == [[60, 60, 60]]


def test_a_pooling_that_names_no_mode_is_the_mean(tower: DistilBert) -> None:
    before = encode(tower.folder)
    write_pooling(tower.folder / "1_Pooling", tower.WIDTH, word_embedding_dimension=24)
    np.testing.assert_array_equal(encode(tower.folder), before)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": ["mean", "max"]}, "mean and max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True, "pooling_mode_cls_token": True}, "cls and mean_sqrt_len_tokens"),
        ({"pooling_mode": "attention"}, "attention"),
    ],
    ids=str,
)
def test_other_poolings_are_refused_by_name(tower: DistilBert, config: dict[str, Any], named: str) -> None:
    set_pooling(tower, **config)
    with pytest.raises(CheckpointError, match=f"1_Pooling pools by {named}; supported is one of cls, max, mean"):
        TextEncoder(tower.folder)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("named", "activation"),
    [
        ("torch.nn.modules.linear.Identity", nn.Identity()),
        ("torch.nn.modules.activation.Tanh", nn.Tanh()),
        ("torch.nn.modules.activation.ReLU", nn.ReLU()),
    ],
)
def test_dense_layers_and_norms_come_in_the_order_of_the_list(
    tower: DistilBert, bias: bool, named: str, activation: nn.Module
) -> None:
    layers = [nn.Linear(24, 40, bias=bias), nn.Linear(40, 8, bias=bias)]
    for place, layer in zip((2, 4), layers, strict=True):
        fill(layer, place)
        write_dense(tower.folder / f"{place}_Dense", layer, named)
    behind = [("Dense", "2_Dense"), ("Normalize", "3_Normalize"), ("Dense", "4_Dense"), ("Normalize", "5_Normalize")]
    modules_json(tower.folder, ("Transformer", ""), ("Pooling", "1_Pooling"), *behind)
    tokens, mask = tower.tokens(TEXTS)
    means = torch.stack([row[seen.bool()].mean(dim=0) for row, seen in zip(tokens, mask, strict=True)])
    with torch.inference_mode():
        inner = nn.functional.normalize(activation(layers[0](means)))
        expected = nn.functional.normalize(activation(layers[1](inner)))
    assert_close(encode(tower.folder), expected)
    assert TextEncoder(tower.folder).dimension == 8


def test_a_dense_layer_that_names_no_activation_has_the_hyperbolic_tangent(tower: DistilBert) -> None:
    path = tower.folder / "2_Dense" / "config.json"
    config = json.loads(path.read_text())
    del config["activation_function"]
    write_json(path, config)
    assert_close(encode(tower.folder), tower.vectors(TEXTS).tanh())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation_function": "custom.Swish"}, "has activation_function 'custom.Swish'; supported are torch"),
        ({"activation_function": "torch.nn.modules.activation.GELU"}, "has activation_function 'torch.*GELU'"),
        ({"use_residual": True}, "has use_residual"),
        ({"module_input_name": "token_embeddings"}, "has module_input_name 'token_embeddings'"),
        ({"in_features": 20}, "2_Dense takes vectors of length 20, those before it have 24"),
        ({"out_features": None}, "needs in_features and out_features"),
        ({"out_features": 17}, r"'2_Dense/linear.weight' has shape \(16, 24\), the config says \(17, 24\)"),
        ({"bias": True}, "the weights lack '2_Dense/linear.bias'"),
    ],
    ids=str,
)
def test_a_dense_layer_that_would_be_another_is_refused(
    tower: DistilBert, config: dict[str, Any], message: str
) -> None:
    set_dense(tower, **config)
    with pytest.raises(CheckpointError, match=message):
        TextEncoder(tower.folder)


def test_a_bias_that_would_be_left_out_is_refused(tower: DistilBert) -> None:
    write_dense(tower.folder / "2_Dense", nn.Linear(24, 16))
    set_dense(tower, bias=False)
    with pytest.raises(CheckpointError, match=r"would be left out: '2_Dense/linear\.bias'"):
        TextEncoder(tower.folder)


@pytest.mark.parametrize(
    ("stated", "tokenizers", "expected"), [(5, 512, 5), (None, 7, 7), (None, 512, 20), (400, 7, 20)], ids=str
)
def test_texts_are_cut_where_the_files_say_and_never_behind_the_encoders_positions(
    tower: DistilBert, stated: int | None, tokenizers: int, expected: int
) -> None:
    write_json(tower.folder / "sentence_bert_config.json", {"max_seq_length": stated})
    settings = json.loads((tower.folder / "tokenizer_config.json").read_text())
    write_json(tower.folder / "tokenizer_config.json", settings | {"model_max_length": tokenizers})
    encoder = TextEncoder(tower.folder, device="cpu")
    assert encoder.backend.max_length == expected
    assert encoder.tokenizer(["star " * 40])[0].shape == (1, expected)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("sentence_bert_config.json", "max_seq_length", "12"),
        ("sentence_bert_config.json", "max_seq_length", 0),
        ("tokenizer_config.json", "model_max_length", 1.5),
        ("config.json", "max_position_embeddings", None),
    ],
)
def test_a_length_that_is_no_number_of_tokens_is_refused(tower: DistilBert, name: str, key: str, value: object) -> None:
    settings = json.loads((tower.folder / name).read_text())
    write_json(tower.folder / name, settings | {key: value})
    with pytest.raises(CheckpointError, match=key):
        TextEncoder(tower.folder)


def test_the_older_names_of_the_settings_are_read(tower: DistilBert) -> None:
    settings = tower.folder / "sentence_bert_config.json"
    settings.rename(tower.folder / "sentence_distilbert_config.json")
    assert TextEncoder(tower.folder).backend.max_length == tower.length


def test_texts_are_lower_cased_where_the_settings_say_so(tower: DistilBert) -> None:
    before = TextEncoder(tower.folder, device="cpu")
    write_json(tower.folder / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": True})
    after = TextEncoder(tower.folder, device="cpu")
    shouted = f"A Red {string.ascii_uppercase[:4]} [SEP]"
    assert after.tokenizer([shouted])[0].tolist() == before.tokenizer(["a red abcd [SEP]"])[0].tolist()
    assert after.tokenizer([shouted])[0].tolist() != before.tokenizer([shouted])[0].tolist()
    assert after.fingerprint != before.fingerprint


def test_lower_case_needs_the_tokenizers_own_file(tower: DistilBert) -> None:
    write_json(tower.folder / "sentence_bert_config.json", {"do_lower_case": True})
    (tower.folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing; save the tokenizer"):
        TextEncoder(tower.folder)


def test_settings_that_change_tokens_in_other_ways_are_refused(tower: DistilBert) -> None:
    write_json(tower.folder / "sentence_bert_config.json", {"processing_kwargs": {"text": {"padding": "max_length"}}})
    with pytest.raises(CheckpointError, match="has processing_kwargs"):
        TextEncoder(tower.folder)


@pytest.mark.parametrize("model_type", ["t5", "clip", "bart"])
def test_other_encoders_are_refused_by_name(tower: DistilBert, model_type: str) -> None:
    config = json.loads((tower.folder / "config.json").read_text())
    write_json(tower.folder / "config.json", config | {"model_type": model_type})
    with pytest.raises(CheckpointError, match=f"no text tower on a '{model_type}'; supported are albert, bert, "):
        TextEncoder(tower.folder)


@pytest.mark.parametrize("name", ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"])
def test_the_fingerprint_is_of_every_module(tmp_path: Path, name: str) -> None:
    first, second = DistilBert(tmp_path / "first"), DistilBert(tmp_path / "second")
    before = TextEncoder(first.folder).fingerprint
    assert TextEncoder(second.folder).fingerprint == before
    if name.endswith("safetensors"):
        fill(second.dense, 2)
        write_dense(second.folder / "2_Dense", second.dense)
    else:
        path = second.folder / name
        path.write_text(path.read_text() + " ")
    assert TextEncoder(second.folder).fingerprint != before


def test_there_is_nothing_that_says_what_a_cosine_means(tower: DistilBert) -> None:
    encoder = TextEncoder(tower.folder)
    assert encoder.logit_scale is None
    assert encoder.logit_bias is None


def test_the_tower_is_what_a_text_backend_has_to_be(tower: DistilBert) -> None:
    check_text_backend(TextEncoder(tower.folder, device="cpu").backend)


def test_the_tokenizer_may_be_written_again(tower: DistilBert, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = write_tokenizer(tmp_path / "again")
    assert again("a Red 漢字")["input_ids"] == tower.tokenizer("a Red 漢字")["input_ids"]
