"""Texts get the token ids of transformers' own tokenizers, with and without the libraries that those need."""

from __future__ import annotations

import json
import random
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from sentencepiece import SentencePieceProcessor
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from clip_image_encoder import CheckpointError, ConfigurationError
from clip_image_encoder.checkpoint import CheckpointTokenizer, open_checkpoint

from .conftest import Saved, reference_tokenizer
from .tokenizer_files import spiece, write_clip, write_siglip, write_siglip2

pytestmark = pytest.mark.filterwarnings("ignore:This sequence already has:UserWarning")  # the reference's, of "</s>"

LENGTH = 16
PARTS = [
    *("a", "red", "Red", "CIRCLE ", "photo of", "two dogs", "it's", "I'M", "1,000.50", "#1", "!", "...", "-", "{", "¿"),
    *(" ", "  ", "\t", "\n", "\n\n", "\u00a0", "\u3000", "\x1c", "\u200b", "\x00", "\ufeff", "¨", "▁", "▁a"),
    *("漢字", "仮名", "한국", "각", "\u1100\u1161\u11a8", "ภาษา", "Ελλάδα", "ß", "İ", "ǅ", "ﬁ", "½", "①", "㎏"),
    *("é", "e\u0301", "e\u0301\u0323", "n\u0303", "x\u0327\u0302", "ἀ", "\u0345", "\U0001d49c", "\uff21"),
    *("😀", "👩\u200d👩\u200d👧", "🇩🇪", "\u200d"),
    *("</s>", "<unk>", "<pad>", "<eos>", "<EOS>", "<table>", "<TABLE>", "<mask>", "\uff1c/s\uff1e", "<0x41>"),
    *("<|endoftext|>", "<|startoftext|>", "<|STARTOFTEXT|>", "of the " * 30, "long" * 40),
]
RANGES = [(0x20, 0x250), (0x300, 0x3A3), (0x3A4, 0x600), (0x1E00, 0x2100), (0x3040, 0x3100), (0xFF00, 0xFFEF)]


def strings(count: int = 2_000) -> list[str]:
    """Return texts in which all that tokenizers treat apart stands side by side."""
    drawn = random.Random(0)
    mixed = [
        "".join(drawn.choice(PARTS) + drawn.choice(["", "", " "]) for _ in range(drawn.randint(1, 12)))
        for _ in range(count * 4 // 5)
    ]
    anything = [
        "".join(chr(drawn.randrange(*drawn.choice(RANGES))) for _ in range(drawn.randint(1, 30)))
        for _ in range(count // 5)
    ]
    runs = [drawn.choice("08aehlrstx") * drawn.randint(2, 60) for _ in range(count // 20)]
    bare = ["", " ", "\n", "▁", "!", " a", "a ", "a  b", "▁ a", "</s>", "a</s>", "a </s> b", "¨a"]
    texts = [*bare, *runs, *mixed, *anything]
    # transformers 4 finds a start token in it, and 5 doesn't.
    return [text for text in texts if "<|STARTOFTEXT|>" not in text or transformers.__version__ >= "5"]


def checkpoint_in(folder: Path, model_type: str) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def tokenizer_in(folder: Path) -> CheckpointTokenizer:
    checkpoint = open_checkpoint(folder)
    text = checkpoint.text
    return CheckpointTokenizer(checkpoint, max_length=LENGTH, padding=text.padding, tokenizer=text.tokenizer)


def ours(tokenizer: CheckpointTokenizer, texts: list[str]) -> list[list[int]]:
    return [tokenizer([text])[0][0].tolist() for text in texts]


def theirs(reference: Any, texts: list[str], padding: str | bool = "max_length") -> list[list[int]]:
    return [reference(text, padding=padding, truncation=True, max_length=LENGTH)["input_ids"] for text in texts]


def siglip_reference(folder: Path) -> Any:
    load: Any = transformers.SiglipTokenizer.from_pretrained
    return load(folder)


def assert_ids(folder: Path, reference: Any) -> None:
    texts = strings()
    made = ours(tokenizer_in(folder), texts)
    expected = theirs(reference, texts, open_checkpoint(folder).text.padding == "max_length" and "max_length")
    assert [text for text, ids, wanted in zip(texts, made, expected, strict=True) if ids != wanted] == []
    assert len(set(map(tuple, expected))) > len(texts) // 2


@pytest.fixture
def _without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read by transformers' own tokenizers, but what a test reads itself."""
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", None)


def converted() -> Tokenizer:
    """Return the fixture's pieces as the `tokenizer.json` beside them on the hub has them."""
    model = SentencePieceProcessor(model_proto=spiece())
    pieces = [(model.id_to_piece(number), model.get_score(number)) for number in range(model.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.NFKC(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def without(*names: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_clip(folder)
        for name in names:
            (folder / name).unlink()

    return write


@pytest.mark.parametrize(
    "write",
    [
        without(),
        without("tokenizer.json"),
        without("vocab.json", "merges.txt"),
        without("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    ],
    ids=["all", "vocabulary and merges", "tokenizer.json", "nothing but vocabulary and merges"],
)
def test_clips_are_those_of_its_tokenizer(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    checkpoint_in(tmp_path, "clip")
    assert_ids(tmp_path, reference_tokenizer(tmp_path, "clip"))


@pytest.mark.usefixtures("_without_transformers")
@pytest.mark.parametrize("model_type", ["siglip", "siglip_text_model"])
def test_siglips_are_those_of_its_tokenizer(tmp_path: Path, model_type: str) -> None:
    write_siglip(tmp_path)
    assert_ids(checkpoint_in(tmp_path, model_type), siglip_reference(tmp_path))


@pytest.mark.usefixtures("_without_transformers")
@pytest.mark.parametrize(
    "options",
    [
        {"normalization_rule_name": "identity"},
        {"normalization_rule_name": "nfkc"},
        {"normalization_rule_name": "nmt_nfkc_cf"},
        {"byte_fallback": True, "vocab_size": 400},  # the multilingual one's
    ],
    ids=str,
)
def test_siglips_are_those_of_its_tokenizer_with_other_pieces(tmp_path: Path, options: dict[str, Any]) -> None:
    write_siglip(tmp_path)
    (tmp_path / "spiece.model").write_bytes(spiece(**options))
    tokenizer, reference = tokenizer_in(checkpoint_in(tmp_path, "siglip")), siglip_reference(tmp_path)
    texts = strings(400)
    assert ours(tokenizer, texts) == theirs(reference, texts)


def test_siglips_do_not_change_with_a_tokenizer_json_beside_its_pieces(tmp_path: Path) -> None:
    write_siglip(tmp_path)
    before = tokenizer_in(checkpoint_in(tmp_path, "siglip"))
    converted().save(str(tmp_path / "tokenizer.json"))
    assert ours(tokenizer_in(tmp_path), strings(200)) == ours(before, strings(200))


def test_siglips_are_the_same_from_a_tokenizer_json_alone(tmp_path: Path) -> None:
    write_siglip(tmp_path)
    reference = siglip_reference(tmp_path)
    (tmp_path / "spiece.model").unlink()
    converted().save(str(tmp_path / "tokenizer.json"))
    texts = ["A Red, CIRCLE!", "", " the  blue\nstar", "(on) a", "\uff32ed " * 30]
    assert ours(tokenizer_in(checkpoint_in(tmp_path, "siglip")), texts) == theirs(reference, texts)


@pytest.mark.parametrize("model_type", ["siglip2", "siglip2_text_model", "siglip", "siglip_text_model"])
def test_siglip_2s_are_those_of_its_tokenizer_at_any_size(tmp_path: Path, model_type: str) -> None:
    write_siglip2(tmp_path)
    assert_ids(checkpoint_in(tmp_path, model_type), reference_tokenizer(tmp_path, "siglip2"))


@pytest.mark.parametrize("model_type", ["siglip2", "siglip"])
def test_siglip_2_reads_no_case_but_punctuation(tmp_path: Path, model_type: str) -> None:
    write_siglip2(tmp_path)
    shouted, lower, plain = ours(
        tokenizer_in(checkpoint_in(tmp_path, model_type)), ["A RED, Circle!", "a red, circle!", "a red circle"]
    )
    assert shouted == lower != plain


def test_siglip_reads_neither_case_nor_punctuation(tmp_path: Path) -> None:
    write_siglip(tmp_path)
    shouted, plain = ours(tokenizer_in(checkpoint_in(tmp_path, "siglip")), ["A RED, Circle!", "a red circle"])
    assert shouted == plain


@pytest.mark.parametrize(("write", "model_type"), [(write_siglip, "siglip"), (write_siglip2, "siglip")])
def test_texts_are_filled_up_with_nothing_masked(
    tmp_path: Path, write: Callable[[Path], None], model_type: str
) -> None:
    write(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "attention_mask"]  # as transformers 5 writes it
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    token_ids, mask = tokenizer_in(checkpoint_in(tmp_path, model_type))(["a red circle", "a"])
    assert token_ids.shape == (2, LENGTH)
    assert mask is None


def test_what_a_family_does_to_texts_is_in_the_fingerprint(tmp_path: Path) -> None:
    write_siglip2(tmp_path)
    checkpoint = open_checkpoint(checkpoint_in(tmp_path, "siglip"))
    plain = CheckpointTokenizer(checkpoint, max_length=LENGTH, padding="max_length")
    assert ours(plain, ["Red"]) != ours(tokenizer_in(tmp_path), ["Red"])
    assert plain.fingerprint != tokenizer_in(tmp_path).fingerprint


def test_the_fingerprint_does_not_tell_who_read_the_pieces(tmp_path: Path) -> None:
    write_siglip(tmp_path)
    checkpoint = open_checkpoint(checkpoint_in(tmp_path, "siglip"))
    by_sentencepiece = CheckpointTokenizer(checkpoint, max_length=LENGTH, padding="max_length")
    assert ours(by_sentencepiece, strings(50)) == ours(tokenizer_in(tmp_path), strings(50))
    assert by_sentencepiece.fingerprint == tokenizer_in(tmp_path).fingerprint


def test_a_length_that_leaves_no_token_between_the_special_ones_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path)
    checkpoint = open_checkpoint(checkpoint_in(tmp_path, "clip"))
    with pytest.raises(ConfigurationError, match="max_length must be more than 2, the number of special tokens"):
        CheckpointTokenizer(checkpoint, max_length=2, padding="longest")


@pytest.mark.parametrize("kept", [0, 1, 100, 5_000, -1])
def test_damaged_pieces_are_refused(tmp_path: Path, kept: int) -> None:
    write_siglip(tmp_path)
    (tmp_path / "spiece.model").write_bytes(spiece()[:kept])
    with pytest.raises(CheckpointError, match="the tokenizer can't be loaded"):
        tokenizer_in(checkpoint_in(tmp_path, "siglip"))


def test_siglip_2_needs_its_tokenizer_json(tmp_path: Path) -> None:
    write_siglip2(tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer.model")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        tokenizer_in(checkpoint_in(tmp_path, "siglip"))


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "bpe"},
        {"user_defined_symbols": "<table>"},
        {"remove_extra_whitespaces": False},
        {"treat_whitespace_as_suffix": True},
    ],
    ids=str,
)
def test_pieces_of_another_kind_are_read_by_sentencepiece(tmp_path: Path, options: dict[str, Any]) -> None:
    write_siglip(tmp_path)
    (tmp_path / "spiece.model").write_bytes(spiece(**options))
    tokenizer = tokenizer_in(checkpoint_in(tmp_path, "siglip"))
    assert ours(tokenizer, strings(100)) == theirs(siglip_reference(tmp_path), strings(100))


def test_an_installation_without_sentencepiece_reads_siglips_texts_and_says_what_it_can_not_read(
    save: Callable[..., Saved], tmp_path: Path
) -> None:
    saved = save("siglip")
    pieces, both, other = (shutil.copytree(saved.folder, tmp_path / name) for name in ("pieces", "both", "other"))
    converted().save(str(both / "tokenizer.json"))
    (other / "spiece.model").write_bytes(spiece(model_type="bpe"))
    texts = ["A Red, circle!", "the blue star"]
    program = """
import json, sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "sentencepiece" else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
from clip_image_encoder import MissingExtraError, TextEncoder

for folder in sys.argv[2:]:
    try:
        print(json.dumps(TextEncoder(folder, device="cpu").encode(json.loads(sys.argv[1])).tolist()))
    except MissingExtraError as error:
        print(json.dumps(str(error)))
assert "sentencepiece" not in sys.modules
"""
    command = [sys.executable, "-c", program, json.dumps(texts), str(pieces), str(both), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    of_pieces, of_both, refusal = map(json.loads, done.stdout.splitlines())
    np.testing.assert_allclose(of_pieces, saved.reference(texts), atol=1e-5)
    assert of_both == of_pieces
    assert refusal == (
        f"{other}: sentencepiece is needed to read spiece.model: python -m pip install sentencepiece protobuf"
    )
