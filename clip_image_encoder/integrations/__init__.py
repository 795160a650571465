"""Integrations with other libraries, one module for each; import the one that you need."""
