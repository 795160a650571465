"""The bundled checkpoint: its drawings, its captions, its training, its files."""
