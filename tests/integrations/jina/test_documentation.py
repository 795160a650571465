"""docs/integrations/jina.md runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integrations.pages import code_blocks

PAGE = "integrations/jina.md"


def test_the_page_runs(tmp_path: Path) -> None:
    (flow,) = code_blocks(PAGE, "yaml")
    (tmp_path / "flow.yml").write_text(flow)
    program = "\n".join(code_blocks(PAGE, "python"))
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
