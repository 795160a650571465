"""CUDA graphs of a tower, with stand-ins for torch's that record operators on the CPU and do them again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.backends._cuda_graphs import GraphedTower
from clip_image_encoder.backends._torch_vision import TorchVision
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import BackendError
from clip_image_encoder.models import VisionTower

from .conftest import Saved, tower_of
from .families import MEAN, PIXEL_FORMAT, STD

ANY_SIZE = PixelFormat(size=None, mean=MEAN, std=STD)


def tensors(result: Any) -> list[Tensor]:
    """Return the tensors of what an operator returned."""
    return [each for each in (result if isinstance(result, tuple) else (result,)) if isinstance(each, Tensor)]


class Graph(TorchDispatchMode):
    """What `torch.cuda.CUDAGraph` is, of operators: they write to the same tensors each time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        """Do all again with what the tensors hold now."""
        self.replays += 1
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            for before, now in zip(tensors(result), tensors(again), strict=True):
                before.copy_(now)


class Event:
    """An event, by the stream whose work it stands for, and how much of it."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.done = 0

    def record(self, stream: Stream) -> None:
        """Stand for what the stream has been given until now."""
        self.stream, self.done = stream, len(stream.work)


class Stream:
    """A stream by its number, and what it has been given to do."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.work: list[str] = []

    def wait_event(self, event: Event) -> None:
        """Do nothing more before the event."""
        if event.stream:
            self.work.append(f"wait for {event.done} of {event.stream.number}")

    def wait_stream(self, other: Stream) -> None:
        """Do nothing more before what another stream has been given until now."""
        self.work.append(f"wait for {len(other.work)} of {other.number}")


class Cuda:
    """What is left of torch.cuda: the current stream, and the graphs that were recorded."""

    def __init__(self) -> None:
        self.stream = Stream(1)
        self.made: list[Stream] = []
        self.recorded: list[tuple[Graph, int, str]] = []

    @contextmanager
    def record(self, graph: Graph, *, pool: str, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        """Stand in for `torch.cuda.graph`."""
        assert capture_error_mode == "thread_local"
        assert stream is self.stream
        self.recorded.append((graph, stream.number, pool))
        with graph:
            yield

    def make(self, _device: object) -> Stream:
        """Stand in for `torch.cuda.Stream`; those that towers make have numbers from 10 on."""
        self.made.append(Stream(10 + len(self.made)))
        return self.made[-1]

    @contextmanager
    def use(self, stream: Stream) -> Iterator[None]:
        """Stand in for `torch.cuda.stream`."""
        before, self.stream = self.stream, stream
        yield
        self.stream = before


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """Stand-ins for what is used of torch.cuda."""
    cuda, pools = Cuda(), iter(f"pool {number}" for number in range(99))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", cuda.record)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", cuda.make)
    monkeypatch.setattr(torch.cuda, "stream", cuda.use)
    replay = Graph.replay

    def replayed(graph: Graph) -> None:
        cuda.stream.work.append("replay")
        replay(graph)

    monkeypatch.setattr(Graph, "replay", replayed)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: cuda.stream)
    return cuda


@pytest.fixture
def plain(clip: Saved) -> VisionTower:
    return tower_of(clip)


def images(count: int, seed: int = 0) -> Tensor:
    noise = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return torch.from_numpy(noise)


@torch.inference_mode()
def features(tower: nn.Module, pixels: Tensor, output: str = "pooled") -> Tensor:
    result: Tensor = tower(pixels, output)
    return result


def test_each_batch_has_the_features_that_the_tower_gives(cuda: Cuda, plain: VisionTower) -> None:
    graphed = GraphedTower(plain)
    for seed, count in enumerate((5, 8, 6, 1, 5, 3)):
        for output in ("pooled", "tokens"):
            batch = images(count, seed)
            expected = features(plain, batch, output)
            torch.testing.assert_close(features(graphed, batch, output), expected, rtol=1e-4, atol=1e-5)


def test_a_batch_is_padded_to_the_next_power_of_two_and_recorded_once(cuda: Cuda, plain: VisionTower) -> None:
    graphed = GraphedTower(plain)
    for count in (5, 8, 6, 7, 4, 3, 1, 1, 2):
        assert len(features(graphed, images(count))) == count
    # Sizes 8, 4, 1 and 2; each is replayed once more when it is recorded.
    assert [graph.replays for graph, _, _ in cuda.recorded] == [4 + 1, 2 + 1, 2 + 1, 1 + 1]


def test_a_larger_batch_passes_the_tower_as_it_is(cuda: Cuda, plain: VisionTower) -> None:
    assert len(features(GraphedTower(plain), images(257))) == 257
    assert not cuda.recorded


def test_streams_share_recordings_that_are_made_on_a_stream_of_their_own(cuda: Cuda, plain: VisionTower) -> None:
    graphed = GraphedTower(plain)
    for stream in (cuda.stream, Stream(2)):
        cuda.stream = stream
        for count in (2, 1):
            features(graphed, images(count))
    assert [(stream, pool) for _, stream, pool in cuda.recorded] == [(10, "pool 0"), (10, "pool 0")]


def test_a_replay_waits_for_the_one_before(cuda: Cuda, plain: VisionTower) -> None:
    graphed, first, second = GraphedTower(plain), cuda.stream, Stream(2)
    for stream in (first, second, first):
        cuda.stream = stream
        features(graphed, images(2))
    (own,) = cuda.made
    # The recording waits for the pixels, which are first's, and first for the recording.
    assert own.work == ["wait for 0 of 1", "replay"]
    assert first.work == ["wait for 2 of 10", "replay", "wait for 2 of 2", "replay"]
    assert second.work == ["wait for 2 of 1", "replay"]


def test_a_replay_waits_for_one_whose_features_found_no_memory(
    cuda: Cuda, plain: VisionTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphed, first, second = GraphedTower(plain), cuda.stream, Stream(2)
    features(graphed, images(2))

    def fill(_tensor: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as full:
        full.setattr(Tensor, "clone", fill)
        with pytest.raises(torch.OutOfMemoryError):
            features(graphed, images(2))
    cuda.stream = second
    features(graphed, images(2))
    assert second.work[0] == f"wait for {len(first.work)} of 1"


def test_threads_get_the_features_of_their_own_batches(cuda: Cuda, plain: VisionTower) -> None:
    graphed = GraphedTower(plain)
    batches = [images(count, seed) for seed, count in enumerate((2, 1, 4, 2, 3, 1) * 4)]
    expected = [features(plain, batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(partial(features, graphed), batches))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_features_stay_when_the_next_batch_comes(cuda: Cuda, plain: VisionTower) -> None:
    graphed = GraphedTower(plain)
    first = features(graphed, images(2, seed=1))
    before = first.clone()
    features(graphed, images(2, seed=2))
    torch.testing.assert_close(first, before, rtol=0, atol=0)


def test_a_recording_that_gives_something_else_is_an_error(
    cuda: Cuda, plain: VisionTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(graph: Graph) -> None:
        graph.calls[-1][-1].zero_()

    monkeypatch.setattr(Graph, "replay", wrong)
    with pytest.raises(BackendError, match=r"a CUDA graph gives features that are 100\.0% off"):
        features(GraphedTower(plain), images(2))


def test_features_that_are_not_finite_stay_as_they_are(cuda: Cuda) -> None:
    nothing = VisionTower(
        nn.Linear(2, 2), lambda _model, pixels, _output: pixels[:, 0, 0].float() * float("nan"), dimension=3
    )
    assert features(GraphedTower(nothing), images(2)).isnan().all()


def test_a_tower_that_torch_can_not_record_is_computed_without(
    cuda: Cuda, plain: VisionTower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_graph: Graph, **_settings: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    graphed = GraphedTower(plain)
    for count in (2, 2, 3):
        torch.testing.assert_close(features(graphed, images(count)), features(plain, images(count)))
    assert [record.getMessage() for record in caplog.records] == [
        "the tower can't be recorded as a CUDA graph, and runs without: "
        "operation not permitted when stream is capturing"
    ]


def test_recordings_are_given_up_where_the_memory_is_full(
    cuda: Cuda, plain: VisionTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_graph: Graph, **_settings: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    graphed = GraphedTower(plain)
    features(graphed, images(4))
    with monkeypatch.context() as full:
        full.setattr(torch.cuda, "graph", fill)
        torch.testing.assert_close(features(graphed, images(8)), features(plain, images(8)))
    recorded = weakref.ref(cuda.recorded.pop()[0])
    gc.collect()
    assert recorded() is None
    torch.testing.assert_close(features(graphed, images(4)), features(plain, images(4)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of itself, where its compiler is imported
@pytest.mark.parametrize(
    ("settings", "is_graphed"),
    [({}, True), ({"cuda_graphs": False}, False), ({"compile": True}, True), ({"pixel_format": ANY_SIZE}, False)],
)
def test_towers_are_recorded_on_cuda_devices_unless_they_can_not_be(
    cuda: Cuda, clip: Saved, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], is_graphed: bool
) -> None:
    # The tower stays on the CPU; `load` alone is told otherwise.
    monkeypatch.setattr(nn.Module, "to", lambda module, _device: module)
    default: dict[str, Any] = {
        "checkpoint": open_checkpoint(clip.folder),
        "pixel_format": PIXEL_FORMAT,
        "dtype": torch.float32,
    }
    vision = TorchVision(**default | settings, verify=False)
    assert isinstance(vision.load("cuda:0"), GraphedTower) is is_graphed
    assert not isinstance(vision.load("cpu"), GraphedTower)
