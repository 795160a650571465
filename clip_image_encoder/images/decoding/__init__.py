"""From a file to its decoded image: what Pillow needs help with, one file a format."""
