"""Adapters to other systems, one file each; import the one you need."""
