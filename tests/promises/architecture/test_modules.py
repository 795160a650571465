"""Each module has its place, and integrations use what is public."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import clip_image_encoder
from tests.public import DOCS, importable_names, public_names

PACKAGE = Path(clip_image_encoder.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FACES = sorted(PACKAGE.rglob("__init__.py"))
INTEGRATIONS = sorted((PACKAGE / "integrations").rglob("*.py"))

# What imports names when they are first used.
LAZY_IMPORT = {
    PACKAGE / "__init__.py": {"_import", "__dir__"},
    PACKAGE / "models" / "__init__.py": {"_import"},
}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def documented_modules() -> set[str]:
    """The modules that a public name is shown in or comes from, and those that a page's code imports from."""
    shown = {path.rpartition(".")[0] for path in public_names()}
    homes = {getattr(value, "__module__", "") for value in public_names().values()}
    pages = "\n".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    return shown | homes | set(re.findall(r"^from (clip_image_encoder\.\S+) import", pages, re.MULTILINE))


def has_a_face(folder: Path) -> bool:
    """Whether a folder's `__init__` says what is to be had from its modules."""
    return folder != PACKAGE and "__all__" in (folder / "__init__.py").read_text("utf-8")


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_a_module_is_documented_or_private_or_behind_the_face_of_its_folder(path: Path) -> None:
    is_private = any(part.startswith("_") for part in path.relative_to(PACKAGE).parts)
    assert is_private or has_a_face(path.parent) or dotted(path) in documented_modules()


@pytest.mark.parametrize("path", FACES, ids=short)
def test_the_face_of_a_folder_defines_nothing_of_its_own(path: Path) -> None:
    defined = {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    assert defined <= LAZY_IMPORT.get(path, set())


def private_imports(source: str) -> Iterator[str]:
    """What of this package a program imports that is not public, nor the part that integrations share."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("clip_image_encoder"))
        elif isinstance(node, ast.ImportFrom):
            module = f".{node.module or ''}" if node.level else str(node.module)
            names = {f"{module}.{alias.name}" for alias in node.names if module.startswith(("clip_image_encoder", "."))}
            if module != "clip_image_encoder.integrations._encoders":
                yield from names - importable_names()


@pytest.mark.parametrize("path", INTEGRATIONS, ids=short)
def test_an_integration_imports_public_names_only(path: Path) -> None:
    # A folder is one integration, whose files import each other; another one's are kept out by the import contracts.
    own = f"{dotted(path.parent)}." if path.parent.name != "integrations" else "nothing"
    assert [name for name in sorted(private_imports(path.read_text("utf-8"))) if not name.startswith(own)] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from clip_image_encoder._devices import resolve_devices", ["clip_image_encoder._devices.resolve_devices"]),
        ("from clip_image_encoder import encoder", ["clip_image_encoder.encoder"]),
        ("import clip_image_encoder.images", ["clip_image_encoder.images"]),
        ("from . import ray", ["..ray"]),
        ("from clip_image_encoder import ImageEncoder\nimport numpy\nfrom pathlib import Path", []),
    ],
)
def test_the_probe_finds_what_is_private(line: str, found: list[str]) -> None:
    assert list(private_imports(line)) == found
