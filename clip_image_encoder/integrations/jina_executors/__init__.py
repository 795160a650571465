"""Configurations of the Jina executors, and Dockerfiles for them."""
