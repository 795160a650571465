"""`in_order`: a map on threads that keeps the order, draws only so far ahead, and fails in its place."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_image_encoder._threads import in_order


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.integers(), max_size=30), workers=st.integers(0, 4), ahead=st.integers(1, 9))
def test_results_are_those_of_map_in_its_order(items: list[int], workers: int, ahead: int) -> None:
    assert list(in_order(lambda item: item * 2, items, workers=workers, ahead=ahead)) == [item * 2 for item in items]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 40), workers=st.integers(1, 4), ahead=st.integers(1, 9))
def test_no_more_is_drawn_ahead_than_allowed(count: int, workers: int, ahead: int) -> None:
    drawn = taken = 0

    def source() -> Iterator[int]:
        nonlocal drawn
        for number in range(count):
            drawn += 1
            assert drawn - taken <= ahead + 1
            yield number

    for _ in in_order(lambda number: number, source(), workers=workers, ahead=ahead):
        taken += 1
    assert taken == count


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_is_raised_in_its_place(workers: int) -> None:
    def half(number: int) -> int:
        if number == 5:
            raise LookupError("five")
        return number // 2

    results: list[int] = []
    with pytest.raises(LookupError, match="five"):
        results.extend(in_order(half, range(10), workers=workers, ahead=4))
    assert results == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_of_the_source_comes_after_all_results_before_it(workers: int) -> None:
    def source() -> Iterator[int]:
        yield from range(7)
        raise LookupError("no more")

    results: list[int] = []
    with pytest.raises(LookupError, match="no more"):
        results.extend(in_order(lambda number: number, source(), workers=workers, ahead=4))
    assert results == list(range(7))


def test_items_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=600)
    assert sorted(in_order(lambda _: together.wait(), range(3), workers=3, ahead=3)) == [0, 1, 2]


def test_the_source_is_drawn_on_the_callers_thread() -> None:
    threads = set()

    def source() -> Iterator[int]:
        for number in range(5):
            threads.add(threading.current_thread())
            yield number

    list(in_order(lambda number: number, source(), workers=2, ahead=2))
    assert threads == {threading.current_thread()}


def test_closing_it_ends_its_threads() -> None:
    results = in_order(lambda number: number, range(1000), workers=2, ahead=4)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clip_image_encoder")]


@pytest.mark.parametrize("most", [0, 1])
def test_where_the_system_has_no_more_threads_those_there_do_the_work(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_or_refuse(thread: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    threads = set(in_order(lambda _: threading.current_thread(), range(9), workers=3, ahead=4))
    assert threads == (set(started) or {threading.current_thread()})


def forget(results: Iterator[object]) -> None:
    """Leave it to the garbage collector."""
    cycle: list[object] = [results]
    cycle.append(cycle)


def test_the_collector_waits_for_no_thread_not_even_on_one_of_them() -> None:
    forgotten, collected = threading.Event(), threading.Event()
    lock = threading.Lock()

    def collect(number: int) -> int:
        # As a thread that reads a file, which another is waiting for, when the collector comes.
        with lock:
            if number == 1:
                assert forgotten.wait(600)
                gc.collect()
                collected.set()
        return number

    def begin(function: Callable[[int], int]) -> None:
        results = in_order(function, range(9), workers=2, ahead=3)
        next(results)
        forget(results)

    gc.disable()
    try:
        begin(collect)
        forgotten.set()
        assert collected.wait(600)
    finally:
        gc.enable()
