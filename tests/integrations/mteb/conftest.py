"""Nothing is fetched: the tasks draw their images."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
