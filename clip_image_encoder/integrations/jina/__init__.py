"""Executors for Jina 3: CLIPImageEncoder and CLIPTextEncoder replace the executors of those names on Jina Hub.

They fill in the embeddings of the documents of a request. They need docarray 0.30 or newer.
"""

from clip_image_encoder.integrations.jina.documents import ClipChunk, ClipDocument
from clip_image_encoder.integrations.jina.image import CLIPImageEncoder
from clip_image_encoder.integrations.jina.text import CLIPTextEncoder

__all__ = ["CLIPImageEncoder", "CLIPTextEncoder", "ClipChunk", "ClipDocument"]
