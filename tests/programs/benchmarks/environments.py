"""Environments of `bench_small`: what is in them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["packages", "size", "versions"]


def packages(python: Path) -> Path:
    """Return the folder of an environment's packages."""
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def size(folder: Path) -> float:
    """Return the megabytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def versions(python: Path) -> str:
    """Return the versions of an environment's packages."""
    names = ("onnxruntime", "openvino", "fastembed", "sentence_transformers", "torch", "pillow", "tokenizers")
    found = {file.name.split("-")[0]: file.name.split("-")[1] for file in packages(python).glob("*-*.dist-info")}
    return ", ".join(f"{name} {found[name].removesuffix('.dist')}" for name in names if name in found)
