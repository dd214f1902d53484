"""The pipeline: order, errors, cancellation, memory, and that no thread stays behind."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.archives.listed import Counted, MemorySink, StreamSink
from wings.archives.blocks import Block, BlockPipeline, Encoding, Pieces
from wings.archives.work import Unwatched
from wings.errors import Cancelled, NoSpace

SIZE = 1000


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def encoding(encode: Callable[[Block[str]], Pieces], **others: bytes) -> Encoding[str]:
    return Encoding(SIZE, lambda: encode, **others)


def whole(block: Block[str]) -> Pieces:
    return [bytes(block.buffer[: block.length])]


def put(pipeline: BlockPipeline[str], data: bytes, note: str = "") -> None:
    block = pipeline.take()
    block.buffer[: len(data)] = data
    pipeline.put(block, len(data), note)


def test_blocks_are_written_in_order_however_long_each_takes() -> None:
    def uneven(block: Block[str]) -> Pieces:
        time.sleep(0.002 * (block.buffer[0] % 3))
        return whole(block)

    sink = MemorySink()
    blocks = [bytes([number]) * (1 + number * 7) for number in range(60)]
    with BlockPipeline(sink, encoding(uneven, head=b"<", tail=b">"), threads=3, work=Unwatched()) as pipeline:
        for block in blocks:
            put(pipeline, block)
        size, sha256 = pipeline.finish()
    assert sink.data == b"<" + b"".join(blocks) + b">"
    assert (size, sha256) == (len(sink.data), sink.sha256)


def test_the_assembler_sees_notes_and_positions_and_decides_what_is_written() -> None:
    seen = []

    def assemble(block: Block[str], start: int, position: int) -> Pieces:
        seen.append((block.note, start, position))
        return [*block.pieces, b"!"]

    sink = MemorySink()
    with BlockPipeline(
        sink, encoding(lambda block: [b"#" * (block.length // 10)]), threads=2, work=Unwatched(), assemble=assemble
    ) as pipeline:
        for number in range(3):
            put(pipeline, bytes(100), f"note {number}")
        pipeline.drain()
        pipeline.append(b"end")
        size, _ = pipeline.finish()
    assert seen == [("note 0", 0, 0), ("note 1", 100, 11), ("note 2", 200, 22)]
    assert sink.data == (b"#" * 10 + b"!") * 3 + b"end"
    assert size == 36


def test_nothing_to_compute_needs_no_encoder() -> None:
    sink = MemorySink()
    plain: Encoding[str] = Encoding(SIZE, lambda: whole, work=False)
    before = threading.active_count()
    with BlockPipeline(sink, plain, threads=4, work=Unwatched()) as pipeline:
        assert threading.active_count() == before + 1
        put(pipeline, b"abc")
        put(pipeline, b"def")
        assert pipeline.finish() == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert sink.data == b"abcdef"


def test_without_a_checksum_none_is_given() -> None:
    with BlockPipeline(StreamSink(), encoding(whole), threads=1, work=Unwatched(), checksum=False) as pipeline:
        put(pipeline, b"abc")
        assert pipeline.finish() == (3, "")


def fill_until_it_raises(pipeline: BlockPipeline[str]) -> None:
    for _ in range(1000):
        put(pipeline, bytes(SIZE))
    pipeline.finish()


def test_an_error_of_an_encoder_reaches_the_caller() -> None:
    def broken(block: Block[str]) -> Pieces:
        raise MemoryError("no room for a table")

    with (
        pytest.raises(MemoryError, match="no room for a table"),
        BlockPipeline(StreamSink(), encoding(broken), threads=2, work=Unwatched()) as pipeline,
    ):
        fill_until_it_raises(pipeline)


def test_an_error_of_the_sink_reaches_the_caller_and_nothing_more_is_written() -> None:
    def full(size: int) -> None:
        if size >= 5 * SIZE:
            raise NoSpace("the disk is full")

    sink = StreamSink(full)
    with (
        pytest.raises(NoSpace),
        BlockPipeline(sink, encoding(whole), threads=2, work=Unwatched()) as pipeline,
    ):
        fill_until_it_raises(pipeline)
    assert sink.size == 5 * SIZE


def test_the_sink_failing_at_the_very_end_is_not_overlooked() -> None:
    """P1: even when every block was handed over before anything went wrong."""

    def full(size: int) -> None:
        time.sleep(0.05)
        raise NoSpace("the disk is full")

    with (
        pytest.raises(NoSpace),
        BlockPipeline(StreamSink(full), encoding(whole), threads=1, work=Unwatched()) as pipeline,
    ):
        put(pipeline, b"the only block")
        pipeline.finish()


def test_an_error_of_the_assembler_reaches_the_caller() -> None:
    def broken(block: Block[str], start: int, position: int) -> Pieces:
        raise RuntimeError("does not fit together")

    with (
        pytest.raises(RuntimeError, match="fit together"),
        BlockPipeline(StreamSink(), encoding(whole), threads=2, work=Unwatched(), assemble=broken) as pipeline,
    ):
        fill_until_it_raises(pipeline)


def test_an_encoder_that_cannot_be_made_reaches_the_caller() -> None:
    def make() -> Callable[[Block[str]], Pieces]:
        raise ImportError("engine missing")

    with (
        pytest.raises(ImportError),
        BlockPipeline(StreamSink(), Encoding(SIZE, make), threads=2, work=Unwatched()) as pipeline,
    ):
        fill_until_it_raises(pipeline)


def test_a_head_that_cannot_be_written_starts_no_thread() -> None:
    def full(size: int) -> None:
        raise NoSpace("the disk is full")

    with (
        pytest.raises(NoSpace),
        BlockPipeline(StreamSink(full), encoding(whole, head=b"head"), threads=2, work=Unwatched()),
    ):
        pytest.fail("not reached")


def test_cancelling_is_noticed_at_the_next_block() -> None:
    work = Counted()
    with (
        pytest.raises(Cancelled),
        BlockPipeline(StreamSink(), encoding(whole), threads=2, work=work) as pipeline,
    ):
        put(pipeline, b"one")
        work.cancelled = True
        put(pipeline, b"two")


def test_an_error_of_the_caller_ends_the_threads_without_finishing() -> None:
    sink = StreamSink(lambda size: time.sleep(0.01))
    with (
        pytest.raises(KeyError),
        BlockPipeline(sink, encoding(whole, tail=b"tail"), threads=2, work=Unwatched()) as pipeline,
    ):
        for _ in range(4):
            put(pipeline, bytes(SIZE))
        raise KeyError("the walk failed")
    assert sink.size <= 3 * SIZE


def test_a_slow_sink_holds_the_caller_back() -> None:
    """P6: what waits is bounded by the number of threads, not by the size of the tree."""
    gate = threading.Event()
    sink = StreamSink(lambda size: gate.wait(5) and None)
    taken = 0
    with BlockPipeline(sink, encoding(whole), threads=2, work=Unwatched()) as pipeline:

        def fill() -> None:
            nonlocal taken
            for _ in range(50):
                put(pipeline, bytes(SIZE))
                taken += 1

        filling = threading.Thread(target=fill)
        filling.start()
        time.sleep(0.2)
        held_back_after = taken
        gate.set()
        filling.join()
        pipeline.finish()
    assert held_back_after <= 4
    assert sink.size == 50 * SIZE
