"""Tests of what runs the vision tower."""
