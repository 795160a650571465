"""Tests of finding, reading and refusing checkpoints."""
