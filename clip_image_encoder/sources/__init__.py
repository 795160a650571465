"""Sources of images for jobs: folders, tar files, Parquet files and lists; each kind has its file.

A source yields a name and an image for each of its images. The name is the value in the column `path` of the results,
by which an interrupted job knows what it has done.
"""

from __future__ import annotations

from clip_image_encoder.sources.folder import FolderImages
from clip_image_encoder.sources.listed import ListedImages
from clip_image_encoder.sources.opening import open_source
from clip_image_encoder.sources.parquet import ParquetImages
from clip_image_encoder.sources.selection import ImageSource, Selection
from clip_image_encoder.sources.tar import TarImages

__all__ = [
    "FolderImages",
    "ImageSource",
    "ListedImages",
    "ParquetImages",
    "Selection",
    "TarImages",
    "open_source",
]
