"""Checkpoints in open_clip's format beside open_clip itself, which needs other builds of torch: nox -s open_clip."""
