"""An HTTP server with OpenAI's `/v1/embeddings` for texts and images: `create_app` makes a FastAPI application.

```text
body.py ─▶ asked.py ─▶ room.py ─▶ service.py ─▶ two MicroBatchers ─▶ JSON
read        parsed      admitted    in turns       images, texts
                 refusal.py: what is refused, in OpenAI's shape
                 metrics.py: what Prometheus reads
```
"""

from __future__ import annotations

from clip_image_encoder.integrations.server.app import STRICT_LOADER, create_app, name_of
from clip_image_encoder.integrations.server.limits import Limits

__all__ = ["STRICT_LOADER", "Limits", "create_app", "name_of"]
