"""Nothing is reported to Daft's makers; it reads this when it is imported."""

from __future__ import annotations

import os

os.environ["DAFT_ANALYTICS_ENABLED"] = "0"
os.environ["DO_NOT_TRACK"] = "1"
