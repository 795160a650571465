"""Importing is light, and every module tells its public names truthfully."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import clip_image_encoder

PACKAGE = Path(clip_image_encoder.__file__).parent
HEAVY = ("torch", "transformers", "numpy", "PIL", "huggingface_hub", "tqdm")
FRAMEWORKS = ("torch", "transformers", "tokenizers", "safetensors", "onnxruntime", "openvino")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], prefix="clip_image_encoder.")
    # What an integration imports is installed in its own session only.
    if ".tiny_shapes" not in module.name and "._" not in module.name and ".integrations." not in module.name
)


def loaded_by(program: str, names: tuple[str, ...]) -> list[str]:
    """Return which of the modules a new interpreter has loaded after running a program."""
    program += f"\nimport sys; print(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import clip_image_encoder", HEAVY) == []


def test_the_probe_can_fail() -> None:
    assert loaded_by("import numpy", HEAVY) == ["numpy"]


@pytest.mark.parametrize("module", ["encoder", "images", "preprocess", "pooling", "pipeline", "backends", "testing"])
def test_torch_and_transformers_wait_for_a_checkpoint(module: str) -> None:
    assert loaded_by(f"import clip_image_encoder.{module}", FRAMEWORKS) == []


def test_a_model_of_the_callers_own_needs_no_torch() -> None:
    program = (
        "from PIL import Image\n"
        "from clip_image_encoder import ImageEncoder\n"
        "from clip_image_encoder.testing import ToyBackend\n"
        "ImageEncoder(backend=ToyBackend()).encode([Image.new('RGB', (40, 30), 'red')])"
    )
    assert loaded_by(program, FRAMEWORKS) == []


def test_every_public_name_can_be_had_from_the_package() -> None:
    for name in clip_image_encoder.__all__:
        value = getattr(clip_image_encoder, name)
        assert getattr(value, "__module__", "").startswith(("clip_image_encoder", "typing", "types")), name


def test_the_names_that_type_checkers_see_are_those_at_run_time() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == clip_image_encoder.__all__


def test_star_import_and_dir_give_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from clip_image_encoder import *", names)  # noqa: S102  # the only way to star-import in a function
    assert set(clip_image_encoder.__all__) == set(names) - {"__builtins__"}
    assert dir(clip_image_encoder) == clip_image_encoder.__all__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'ImageEncode'"):
        _ = clip_image_encoder.ImageEncode  # type: ignore[attr-defined]  # a typo, which type checkers see too


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_all_the_names_of_its_all_in_order(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert public == sorted(public, key=lambda entry: (not entry.isupper(), entry))  # constants first
    assert all(hasattr(module, entry) for entry in public)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_leaves_no_public_definition_out_of_its_all(name: str) -> None:
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }
    assert defined <= set(getattr(module, "__all__", ()))


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
