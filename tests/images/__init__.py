"""Tests of the image contract: from any input to an upright RGB picture."""
