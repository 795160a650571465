"""Jobs that are killed while they write, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

# Ten children after each other, of which each goes on where the one before was killed: when it has begun so many
# batches, whatever it writes and loads then. None comes to the end, since its fifth batch waits for ever.
_PROGRAM = """
import os, random, signal, sys
from threading import Event
from clip_image_encoder import ImageEncoder
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.folder import embed_folder, embed_images
from clip_image_encoder.sources import open_source
from clip_image_encoder.testing import ToyBackend

class Watched(ToyBackend):
    fingerprint = describe_component(ToyBackend())  # of the same vectors
    begun = 0
    def __call__(self, *arguments, **settings):
        Watched.begun += 1
        os.write(batches, b".")
        if Watched.begun == 5:
            Event().wait()
        return super().__call__(*arguments, **settings)

encoder, images, destination = ImageEncoder(backend=Watched()), sys.argv[1], sys.argv[2]
moments = random.Random(0)
for _ in range(10):
    seen, batches = os.pipe()
    child = os.fork()
    if child == 0:
        {job}
        os._exit(0)
    for _ in range(moments.randint(1, 5)):
        os.read(seen, 1)
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def ends_of_kills(job: str, images: str, destination: str) -> list[str]:
    """Return how ten runs of a job ended, each of which was killed, as texts of their exit codes.

    Args:
        job: Call that encodes `images` into `destination` with `encoder`, as Python source.
        images: Folder or other source.
        destination: Folder of the vectors.
    """
    command = [sys.executable, "-c", _PROGRAM.replace("{job}", job), images, destination]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
