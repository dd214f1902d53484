"""What is taken for incompressible, and where it begins and ends."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archives.test_encoders import noise, text
from wings.archives.probing import STEP, Prober


def judge(content: bytes, least: int = STEP) -> list[tuple[int, int, bool]]:
    return list(Prober(least).runs(bytearray(content), 0, len(content)))


def test_text_and_noise_are_told_apart() -> None:
    assert judge(text(1 << 20)) == [(0, 1 << 20, True)]
    assert judge(noise(1 << 20)) == [(0, 1 << 20, False)]
    assert judge(bytes(1 << 20)) == [(0, 1 << 20, True)]


def test_edges_are_found_closely_and_never_inside_the_compressible() -> None:
    content = text(100_000) + noise(200_000) + text(150_000)
    (_, start, first), (_, end, second), (_, _, third) = judge(content)
    assert (first, second, third) == (True, False, True)
    assert 100_000 <= start < 105_000
    assert 295_000 < end <= 300_000


def test_packed_data_with_padding_is_compressed() -> None:
    """Region files are packed chunks filled up to sectors of 4 KiB: the samples may see none of the zeros."""
    sectors = b"".join(noise(3500, n) + bytes(596) for n in range(64))
    assert judge(sectors) == [(0, len(sectors), True)]


def test_short_runs_stay_with_what_surrounds_them() -> None:
    content = text(300_000) + noise(100_000) + text(300_000)
    assert judge(content, least=1 << 20) == [(0, len(content), True)]
    assert len(judge(content)) == 3


def test_little_data_is_not_asked_about() -> None:
    assert judge(noise(20_000)) == [(0, 20_000, True)]
    assert judge(b"") == [(0, 0, True)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 120_000)), max_size=6),
    st.integers(0, 5000),
    st.sampled_from([STEP, 2 * STEP, 1 << 20]),
)
def test_runs_cover_everything_once(parts: list[tuple[bool, int]], start: int, least: int) -> None:
    """Whatever the data: no gap, no overlap, no empty run, kinds alternate."""
    chance = random.Random(7)
    content = bytes(start) + b"".join(
        chance.randbytes(size) if dense else (b"some words " * (size // 11 + 1))[:size] for dense, size in parts
    )
    runs = Prober(least).runs(bytearray(content) + bytearray(100), start, len(content))
    assert runs[0][0] == start
    assert runs[-1][1] == len(content)
    for (_, end, one), (begin, _, other) in itertools.pairwise(runs):
        assert end == begin
        assert one or other
    assert all(first < last for first, last, _ in runs) or len(content) == start
