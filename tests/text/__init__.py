"""Tests of the text tower."""
