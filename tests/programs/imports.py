"""Every module of the package comes up, but for those that are named as arguments, which say what package they lack.

python -m tests.programs.imports clip_image_encoder.integrations.jina ...
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import clip_image_encoder

_PACKAGE = Path(clip_image_encoder.__file__).parent


def main(lacking: tuple[str, ...]) -> int:
    """Import all modules, and return how many of them did something else than was expected."""
    wrong = 0
    for file in sorted(_PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        try:
            import_module(name)
        except ImportError as error:
            if not name.startswith(lacking) or (error.name or "").startswith("clip_image_encoder"):
                print(f"{name}: {error}")
                wrong += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
