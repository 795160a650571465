"""The loader beside independent decoders, on files of every kind that Pillow alone gets wrong: nox -s decoders."""
