"""docs/integrations/jina.md runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "integrations" / "jina.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_runs(tmp_path: Path) -> None:
    (flow,) = blocks("yaml")
    (tmp_path / "flow.yml").write_text(flow)
    program = "\n".join(blocks("python"))
    environment = os.environ | {"JINA_OPTOUT_TELEMETRY": "1", "JINA_LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for promised in re.findall(r"print\(.*\)  # (.+)$", program, re.MULTILINE):
        assert promised in done.stdout
    assert "uses: clip_image_encoder.integrations.jina.CLIPImageEncoder\n  replicas: 2" in done.stdout
