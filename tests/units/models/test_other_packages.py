"""A family outside of the package is found by its entry point, and is as good as those of the package."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from clip_image_encoder import (
    CheckpointError,
    ClassTokenPooling,
    ConfigurationError,
    ImageEncoder,
    MeanPatchesPooling,
    TextEncoder,
)
from clip_image_encoder.backends import _graph_runs
from clip_image_encoder.backends._apart import run_apart
from clip_image_encoder.checkpoint import CheckpointTokenizer, open_checkpoint
from clip_image_encoder.models import available_families, clip, find_family
from clip_image_encoder.testing import check_backend, check_text_backend

from . import toy_family
from .toy_family import ToyImages, ToyTexts

SIDE, PATCH, WIDTH, LENGTH = 16, 8, 12, 6
PADDING, UNKNOWN = "[PAD]", "[UNK]"
WORDS = [PADDING, UNKNOWN, "a", "red", "blue", "circle", "star", "on"]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


@dataclass(frozen=True)
class Toy:
    """A checkpoint of the toy family, and the modules that it was saved from."""

    folder: Path
    images: ToyImages
    texts: ToyTexts

    def tokens(self, image: Image.Image) -> NDArray[np.float32]:
        """Return what the module makes of an image, with plain arithmetic in between."""
        pixels = (np.asarray(image) / 255 - MEAN) / STD
        patches = [
            pixels[top : top + PATCH, left : left + PATCH].reshape(-1)
            for top in range(0, SIDE, PATCH)
            for left in range(0, SIDE, PATCH)
        ]
        with torch.inference_mode():
            tokens: NDArray[np.float32] = self.images(torch.tensor(np.array([patches]), dtype=torch.float32))[0].numpy()
        return tokens

    def vector(self, *words: str) -> NDArray[np.float32]:
        """Return what the module makes of words, filled up to its length."""
        ids = [WORDS.index(word) for word in words]
        with torch.inference_mode():
            token_ids = torch.tensor([ids + [0] * (LENGTH - len(ids))])
            vector: NDArray[np.float32] = self.texts(token_ids)[0].numpy()
        return vector


def install(folder: Path, *, name: str, entry: str) -> None:
    """Write what pip writes of a package that brings a family."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[clip_image_encoder.models]\n{name} = {entry}\n")


def shouted(text: str) -> str:
    return text.upper()


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A rule with a setting."""

    length: int

    def __call__(self, text: str, /) -> str:
        return text[: self.length]


@pytest.fixture(scope="module", autouse=True)
def _toy_is_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    site = tmp_path_factory.mktemp("site")
    shutil.copy(toy_family.__file__, site / "toy_family.py")
    install(site, name="toy", entry="toy_family:FAMILY")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    sys.modules.pop("toy_family", None)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A checkpoint in a folder; it is not to be changed."""
    folder = tmp_path_factory.mktemp("toy")
    torch.manual_seed(0)
    images, texts = ToyImages(PATCH, WIDTH), ToyTexts(len(WORDS), LENGTH, WIDTH)
    torch.nn.init.normal_(images.prefix)
    towers = torch.nn.ModuleDict({"images": images, "texts": texts})
    save_file(towers.state_dict(), folder / "model.safetensors")
    config = {"model_type": "toy", "side": SIDE, "patch": PATCH, "width": WIDTH}
    config |= {"vocabulary": len(WORDS), "length": LENGTH}
    (folder / "config.json").write_text(json.dumps(config))
    processor = {
        "do_center_crop": False,
        "image_mean": MEAN,
        "image_std": STD,
    }
    processor |= {"size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PADDING, unk_token=UNKNOWN).save_pretrained(folder)
    return Toy(folder=folder, images=images, texts=texts)


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def test_images_become_the_modules_own_vectors(toy: Toy, image: Image.Image) -> None:
    vector = ImageEncoder(toy.folder, device="cpu").encode(image, normalize=False)
    np.testing.assert_allclose(vector, toy.tokens(image)[:2].mean(axis=0), atol=1e-5)


def test_texts_become_the_modules_own_vectors_filled_up_to_its_length(toy: Toy) -> None:
    vectors = TextEncoder(toy.folder, device="cpu").encode(["a red circle", "star"], normalize=False)
    np.testing.assert_allclose(vectors, [toy.vector("a", "red", "circle"), toy.vector("star")], atol=1e-5)


def test_texts_are_cleaned_by_the_familys_rule(toy: Toy) -> None:
    vector = TextEncoder(toy.folder, device="cpu").encode("A Red CIRCLE", normalize=False)
    np.testing.assert_allclose(vector, toy.vector("a", "red", "circle"), atol=1e-5)


def test_the_class_token_is_the_first_of_the_prefix(toy: Toy, image: Image.Image) -> None:
    encoder = ImageEncoder(toy.folder, pooling=ClassTokenPooling(), device="cpu")
    np.testing.assert_allclose(encoder.encode(image, normalize=False), toy.tokens(image)[0], atol=1e-5)


def test_no_token_of_the_prefix_is_in_the_mean_of_the_patches(toy: Toy, image: Image.Image) -> None:
    encoder = ImageEncoder(toy.folder, pooling=MeanPatchesPooling(), device="cpu")
    np.testing.assert_allclose(encoder.encode(image, normalize=False), toy.tokens(image)[2:].mean(axis=0), atol=1e-5)


def test_both_towers_keep_the_contracts_of_backends(toy: Toy) -> None:
    check_backend(ImageEncoder(toy.folder, device="cpu").backend)
    check_text_backend(TextEncoder(toy.folder, device="cpu").backend)


def test_a_copy_of_the_folder_has_the_same_fingerprints(toy: Toy, tmp_path: Path) -> None:
    copy = shutil.copytree(toy.folder, tmp_path / "copy")
    for encoder in (ImageEncoder, TextEncoder):
        assert encoder(toy.folder, device="cpu").fingerprint == encoder(copy, device="cpu").fingerprint


def test_the_rule_that_cleans_texts_is_in_the_fingerprint(toy: Toy) -> None:
    checkpoint = open_checkpoint(toy.folder)

    def fingerprint(clean: Callable[[str], str] | None) -> str:
        return CheckpointTokenizer(checkpoint, max_length=LENGTH, padding="max_length", clean=clean).fingerprint

    rules = (None, toy_family.lowered, shouted, Cut(length=3), Cut(length=4))
    assert len({fingerprint(rule) for rule in rules}) == len(rules)
    assert fingerprint(Cut(length=3)) == fingerprint(Cut(length=3))
    for nameless in (lambda text: text[:1], str.upper):
        with pytest.raises(ConfigurationError, match="can't be fingerprinted"):
            fingerprint(nameless)


def test_another_process_that_finds_the_family_makes_the_same_vectors_of_pickled_encoders(
    toy: Toy, image: Image.Image, tmp_path: Path
) -> None:
    encoders = (ImageEncoder(toy.folder, device="cpu"), TextEncoder(toy.folder, device="cpu"))
    prints = [encoder.fingerprint for encoder in encoders]
    (tmp_path / "job").write_bytes(pickle.dumps((*encoders, image)))
    program = (
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "images, texts, image = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "answer = images.encode(image), texts.encode('A star'), [images.fingerprint, texts.fingerprint]\n"
        "Path(sys.argv[2]).write_bytes(pickle.dumps(answer))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "job"), str(tmp_path / "answer")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    of_image, of_text, theirs = pickle.loads((tmp_path / "answer").read_bytes())
    np.testing.assert_allclose(of_image, encoders[0].encode(image), atol=1e-6)
    np.testing.assert_allclose(of_text, encoders[1].encode("A star"), atol=1e-6)
    assert theirs == prints


def test_a_graph_is_exported_by_a_process_of_its_own_that_finds_the_family(
    toy: Toy, image: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    # The tests export in one process for all of them, which began without the toy family.
    monkeypatch.setattr(_graph_runs, "run_apart", run_apart)
    vector = ImageEncoder(toy.folder, backend="onnx", device="cpu").encode(image, normalize=False)
    np.testing.assert_allclose(vector, toy.tokens(image)[:2].mean(axis=0), atol=1e-4)


def test_it_is_listed_with_the_others() -> None:
    assert "Toy" in available_families()


def test_a_model_that_no_family_knows_is_refused_with_its_name_among_those_that_are_supported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unknown"}')
    with pytest.raises(CheckpointError, match=r"'unknown', .* supported are .*Toy"):
        _ = open_checkpoint(tmp_path).vision


def test_a_model_type_of_this_package_stays_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(toy_family.__file__).read_text().replace('{"toy": "both"}', '{"clip": "both"}')
    (tmp_path / "impostor.py").write_text(program)
    install(tmp_path, name="impostor", entry="impostor:FAMILY")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_family("clip") is clip.FAMILY
    assert "impostor" not in sys.modules


BROKEN = {
    "no_such_module:FAMILY": r"'no_such_module:FAMILY' can't be loaded: No module named 'no_such_module'",
    "json:FAMILY": r"'json:FAMILY' can't be loaded: .*FAMILY",
    "raises:FAMILY": r"'raises:FAMILY' can't be loaded: an import of the package failed",
    "json:dumps": r"'broken' must be a Family, not <function dumps",
}


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What messages say of another package whose family can't be loaded, and that is found before the toy's."""
    entry: str = request.param
    (tmp_path / "raises.py").write_text("raise RuntimeError('an import of the package failed')")
    install(tmp_path, name="broken", entry=entry)
    monkeypatch.syspath_prepend(tmp_path)
    return BROKEN[entry]


def test_a_broken_package_is_named_where_no_other_family_knows_the_model(broken: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unknown"}')
    with pytest.raises(ConfigurationError, match=broken):
        _ = open_checkpoint(tmp_path).vision
    with pytest.raises(ConfigurationError, match=broken):
        find_family("unknown")


def test_beside_a_broken_package_every_other_family_is_found(broken: str) -> None:
    assert find_family("clip") is clip.FAMILY
    assert find_family("toy").name == "Toy"
