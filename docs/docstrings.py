"""What the reference shows of the source in another form: headings of docstrings, and the default model."""

from __future__ import annotations

import re
from typing import Any

import griffe

from clip_image_encoder._defaults import DEFAULT_MODEL

__all__ = ["DefaultModel", "Examples"]


class Examples(griffe.Extension):
    """Renames the section `Example:`, wherever it is, to the `Examples:` that mkdocstrings shows as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ARG002 - griffe's signature
        """Change one docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)


class DefaultModel(griffe.Extension):
    """Writes the model's name into the signatures where its constant stands."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:  # noqa: ARG002 - griffe's signature
        """Change the defaults of one function."""
        for parameter in func.parameters:
            if str(parameter.default) == "DEFAULT_MODEL":
                parameter.default = repr(DEFAULT_MODEL)
