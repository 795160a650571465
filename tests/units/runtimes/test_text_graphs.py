"""Exported text towers: torch's vectors for texts of any length, in every dtype that a runtime has."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from clip_image_encoder import ConfigurationError, TextEncoder
from clip_image_encoder.backends import find_text_backend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.testing import check_text_backend
from tests.units.checkpoint.open_clip_files import MODEL_CFG
from tests.units.checkpoint.open_clip_files import save as save_open_clip
from tests.units.text.conftest import TEXT_MODELS, Saved
from tests.units.text.conftest import save as save

# What differs from another by the names of its tensors alone needn't be exported.
EXPORTED = [name for name in TEXT_MODELS if name not in ("clip_text", "siglip_text", "siglip2_text", "metaclip2_text")]
TEXTS = ["a red circle", "", "the blue star on the red circle " * 9, "a"]


def encoder(folder: Path | str, backend: str, dtype: str = "float32") -> TextEncoder:
    return TextEncoder(folder, backend=backend, dtype=dtype, device="cpu")


def assert_same(folder: Path | str, backend: str) -> None:
    expected = encoder(folder, "torch").encode(TEXTS)
    made = encoder(folder, backend)
    np.testing.assert_allclose(made.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(made.encode(TEXTS, batch_size=1), expected, atol=1e-5)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_family_gives_torchs_vectors(runtime: str, name: str, save: Callable[[str], Saved]) -> None:
    assert_same(save(name).folder, runtime)


@pytest.mark.parametrize("text", [{}, {"no_causal_mask": True, "pool_type": "last"}], ids=["causal", "bidirectional"])
def test_open_clips_texts_give_torchs_vectors(runtime: str, text: dict[str, Any], tmp_path: Path) -> None:
    save_open_clip(tmp_path, {**MODEL_CFG, "text_cfg": {**MODEL_CFG["text_cfg"], **text}})
    assert_same(tmp_path, runtime)


def test_the_contract_of_text_backends_is_kept(runtime: str) -> None:
    check_text_backend(encoder("tiny-shapes", runtime).backend)


def test_token_ids_without_a_mask_are_taken_too(runtime: str) -> None:
    checkpoint = open_checkpoint("tiny-shapes")
    backends = [find_text_backend(name)(checkpoint, dtype="float32", device="cpu") for name in (runtime, "torch")]
    token_ids = np.full((2, checkpoint.text.max_length), 5, np.int64)
    vectors = [backend(token_ids, None, device="cpu") for backend in backends]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-4, atol=1e-5)


def test_attention_is_two_products_with_a_softmax_between_them() -> None:
    backend: Any = encoder("tiny-shapes", "onnx").backend
    graph = onnx.load(backend.file, load_external_data=False).graph
    makes = {name: node for node in graph.node for name in node.output}
    for softmax in (node for node in graph.node if node.op_type == "Softmax"):
        masked = makes[softmax.input[0]]
        scaled = makes[masked.input[0]]
        product = makes[scaled.input[0]]
        reads = next(node for node in graph.node if softmax.output[0] in node.input)
        assert [node.op_type for node in (product, scaled, masked, reads)] == ["MatMul", "Mul", "Add", "MatMul"]


def test_int8_finds_what_float32_finds(runtime: str) -> None:
    colors, shapes = ["red", "blue", "green", "yellow"], ["circle", "star", "heart", "ring"]
    texts = [f"a {color} {shape}" for color in colors for shape in shapes]
    exact, fitted = (encoder("tiny-shapes", runtime, dtype).encode(texts) for dtype in ("float32", "int8"))
    assert (exact * fitted).sum(axis=1).mean() > 0.98
    assert ((fitted @ exact.T).argmax(axis=1) == np.arange(len(texts))).all()


def test_bfloat16_points_the_same_way() -> None:
    try:
        made = encoder("tiny-shapes", "openvino", "bfloat16")
    except ConfigurationError as error:
        pytest.skip(str(error))
    assert (made.encode(TEXTS) * encoder("tiny-shapes", "torch").encode(TEXTS)).sum(axis=1).min() > 0.999


def test_a_second_start_needs_no_torch(runtime: str, cache: Path) -> None:
    encoder("tiny-shapes", runtime)
    program = (
        "import sys; from clip_image_encoder import TextEncoder; "
        f"TextEncoder('tiny-shapes', backend={runtime!r}).encode('a red circle'); "
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_a_pickle_gives_the_same_vectors(runtime: str) -> None:
    made = encoder("tiny-shapes", runtime)
    again = pickle.loads(pickle.dumps(made))
    assert again.fingerprint == made.fingerprint
    assert np.array_equal(again.encode(TEXTS), made.encode(TEXTS))


def test_runtime_and_dtype_are_part_of_the_fingerprint(runtime: str) -> None:
    made = [encoder("tiny-shapes", runtime), encoder("tiny-shapes", runtime, "int8"), encoder("tiny-shapes", "torch")]
    assert len({each.fingerprint for each in made}) == 3


def test_an_unknown_dtype_is_refused_with_those_that_there_are(runtime: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{runtime} has no dtype 'float8'; it has auto, float32"):
        encoder("tiny-shapes", runtime, "float8")


def test_texts_that_go_through_open_clip_are_refused(runtime: str, tmp_path: Path) -> None:
    save_open_clip(tmp_path, {**MODEL_CFG, "text_cfg": {**MODEL_CFG["text_cfg"], "embed_cls": True}})
    with pytest.raises(ConfigurationError, match=r"runs through the open_clip package.*backend='torch'"):
        encoder(tmp_path, runtime)
