"""What PyPI shows of a wheel: each link and image of the rendered README leads to an address, not to a file.

python -m tests.programs.description dist/clip_image_encoder-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import re
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

from readme_renderer.markdown import render

_LINK = re.compile(r'(?:href|src)="(?!https?://|#)([^"]*)"')


def main(wheel: Path) -> int:
    """Name the links that lead nowhere, and return how many they are."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    shown = render(metadata.get_payload(decode=True).decode("utf-8"))  # type: ignore[union-attr]
    assert shown is not None
    lost = _LINK.findall(shown)
    for link in lost:
        print(f"leads nowhere on PyPI: {link}")
    return len(lost)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
