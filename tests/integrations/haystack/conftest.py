"""Nothing is reported to Haystack's makers; it reads this when it is imported."""

from __future__ import annotations

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
