"""Real Flows, each in a process of its own, over gRPC and once over HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from docarray import DocList
from docarray.documents import ImageDoc
from jina import Client
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.integrations.jina import ClipChunk, ClipDocument
from clip_image_encoder.integrations.jina_yaml import convert_flow_yaml
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes
from tests.programs.training.captions import caption

from .conftest import png
from .flow_process import serving

Docs: TypeAlias = DocList[ClipDocument]
Pictures = list[NDArray[np.uint8]]

CONFIGS = Path(__file__).parents[3] / "docs" / "integrations" / "jina"

BOTH = """
from jina import Flow
flow = Flow.load_config(f'''
jtype: Flow
with:
  port: {PORT}
executors:
  - name: images
    uses: clip_image_encoder.integrations.jina.CLIPImageEncoder
    uses_with:
      pretrained_model_name_or_path: tiny-shapes
  - name: texts
    uses: clip_image_encoder.integrations.jina.CLIPTextEncoder
    uses_with:
      pretrained_model_name_or_path: tiny-shapes
''')
"""

ONE = """
from jina import Flow
from clip_image_encoder.integrations.jina import CLIPImageEncoder
flow = Flow(port=PORT).add({options}uses_with={{"pretrained_model_name_or_path": "tiny-shapes"}})
"""


def post(client: Client, docs: Any, **parameters: Any) -> Docs:
    returned: Docs = client.post("/", docs, return_type=Docs, results_in_order=True, parameters=parameters)
    return returned


def embeddings(docs: Docs) -> NDArray[np.float32]:
    return np.stack([doc.embedding for doc in docs])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An image and a text encoder in one Flow, from YAML."""
    with serving(BOTH, tmp_path_factory.mktemp("both")) as client:
        yield client


def test_a_text_finds_its_image(both: Client) -> None:
    scenes = list(random_scenes(30, seed=5))
    wanted = scenes[11]
    indexed = post(both, Docs([ClipDocument(tensor=np.asarray(draw(scene))) for scene in scenes]))
    query = post(both, Docs([ClipDocument(text=caption(wanted.color, wanted.shape))]))[0]
    found = scenes[int(np.argmax(embeddings(indexed) @ query.embedding))]
    assert (found.color, found.shape) == (wanted.color, wanted.shape)


def test_images_of_an_exported_folder_are_found_by_words(
    exported: Path, gallery: dict[str, Path], tmp_path: Path
) -> None:
    docs = Docs([ClipDocument(uri=str(file)) for file in gallery.values()])
    with serving(BOTH.replace("tiny-shapes", str(exported)), tmp_path) as client:
        returned = post(client, Docs([*docs, ClipDocument(text="a green star")]))
    vectors = embeddings(returned)
    assert list(gallery)[int(np.argmax(vectors[:-1] @ vectors[-1]))] == "a green star"


def test_a_thousand_documents_come_back_in_order(both: Client, pictures: Pictures, encoder: ImageEncoder) -> None:
    docs = Docs([ClipDocument(tensor=pictures[place % 20], tags={"place": place}) for place in range(1000)])
    returned = post(both, docs)
    assert [doc.tags["place"] for doc in returned] == list(range(1000))
    np.testing.assert_allclose(embeddings(returned), encoder.encode(pictures * 50), atol=1e-5)


def test_bad_documents_in_the_middle_are_named_and_the_rest_is_served(both: Client, docs: Docs) -> None:
    docs[9] = ClipDocument(blob=b"no picture")
    docs[10] = ClipDocument(uri="/nowhere/cat.jpg")
    returned = post(both, docs, batch_size=4)
    assert [place for place, doc in enumerate(returned) if doc.embedding is None] == [9, 10]
    assert "no such file" in returned[10].tags["error"]


def test_parameters_reach_the_executors(both: Client, pictures: Pictures, encoder: ImageEncoder) -> None:
    doc = ClipDocument(tensor=pictures[0], chunks=DocList[ClipChunk]([ClipChunk(blob=png(pictures[1]))]))
    returned = post(both, Docs([doc]), access_paths="@c", batch_size=2)[0]
    assert returned.embedding is None
    np.testing.assert_allclose(returned.chunks[0].embedding, encoder.encode(pictures[1]), atol=1e-5)


def test_docarrays_own_image_documents_are_taken(both: Client, pictures: Pictures, encoder: ImageEncoder) -> None:
    docs = DocList[ImageDoc]([ImageDoc(tensor=pictures[0]), ImageDoc(bytes_=png(pictures[1]))])
    returned = both.post("/", docs, return_type=DocList[ImageDoc], results_in_order=True)
    np.testing.assert_allclose(embeddings(returned), encoder.encode(pictures[:2]), atol=1e-5)


def test_an_empty_request_comes_back_empty(both: Client) -> None:
    assert len(post(both, Docs())) == 0


@pytest.mark.parametrize(
    "options",
    [
        "uses=CLIPImageEncoder, replicas=2, ",
        'uses="clip_image_encoder.integrations.jina.CLIPImageEncoder", ',
        f'uses="{CONFIGS / "image.yml"}", ',
    ],
    ids=["class, two replicas", "dotted name", "config.yml"],
)
def test_every_way_to_name_the_executor(
    options: str, tmp_path: Path, docs: Docs, pictures: Pictures, encoder: ImageEncoder
) -> None:
    with serving(ONE.format(options=options), tmp_path) as client:
        # Several requests, so that each replica gets one.
        returned = client.post("/", docs, return_type=Docs, results_in_order=True, request_size=4)
    np.testing.assert_allclose(embeddings(returned), encoder.encode(pictures), atol=1e-5)


def test_a_converted_flow_of_jina_2_has_its_executors(
    tmp_path: Path, docs: Docs, pictures: Pictures, encoder: ImageEncoder
) -> None:
    old = """
!Flow
pods:
  - name: encoder
    uses: jinahub+docker://CLIPImageEncoder/gpu
    parallel: 2
    volumes: models:/cache
    uses_with:
      pretrained_model_name_or_path: tiny-shapes
      default_batch_size: 8
      default_traversal_paths: [r]
"""
    (tmp_path / "flow.yml").write_text(convert_flow_yaml(old))
    with serving('from jina import Flow\nflow = Flow.load_config("flow.yml")\nflow.port = PORT', tmp_path) as client:
        returned = post(client, docs)
    np.testing.assert_allclose(embeddings(returned), encoder.encode(pictures), atol=1e-5)


def test_requests_of_several_clients_share_a_batch(tmp_path: Path, pictures: Pictures, encoder: ImageEncoder) -> None:
    batching = 'uses=CLIPImageEncoder, uses_dynamic_batching={"/": {"preferred_batch_size": 16, "timeout": 100}}, '

    async def ask(client: Client, place: int) -> NDArray[np.float32]:
        doc = Docs([ClipDocument(tensor=pictures[place])])
        async for returned in client.post("/", doc, return_type=Docs):
            embedding: NDArray[np.float32] = returned[0].embedding
        return embedding

    async def ask_all(port: int) -> list[NDArray[np.float32]]:
        clients = [Client(port=port, asyncio=True) for _ in pictures]
        return await asyncio.gather(*(ask(client, place) for place, client in enumerate(clients)))

    with serving(ONE.format(options=batching), tmp_path) as client:
        vectors = asyncio.run(ask_all(client.args.port))
    np.testing.assert_allclose(np.stack(vectors), encoder.encode(pictures), atol=1e-5)


def test_http_takes_tensors_and_data_uris(tmp_path: Path, pictures: Pictures, encoder: ImageEncoder) -> None:
    program = ONE.format(options="uses=CLIPImageEncoder, ").replace("port=PORT", 'port=PORT, protocol="http"')
    uri = "data:image/png;base64," + base64.b64encode(png(pictures[1])).decode()
    with serving(program, tmp_path, protocol="http") as client:
        returned = post(client, Docs([ClipDocument(tensor=pictures[0]), ClipDocument(uri=uri)]))
    np.testing.assert_allclose(embeddings(returned), encoder.encode(pictures[:2]), atol=1e-5)
