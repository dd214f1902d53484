"""Finding the parts of a block that do not compress, so that no time is spent on them.

Game servers keep most of their bytes in files that are packed already. A few samples tell: they cost a
thirtieth of compressing, and parts that are stored cost nearly nothing. Setting such parts apart also makes
the rest smaller where the encoder fits one set of codes to all that lies in between.
"""

from collections.abc import Sequence

import zstandard

STEP = 32 << 10  # distance of the samples
SAMPLE = 512
_EDGE = 4 << 10  # how exactly the edge between two kinds of data is looked for
_WORTH = 0.96  # samples that stay above this share of their size do not compress
# Packed data filled up to whole sectors, as in region files, gains by its padding what samples may not see.
_PADDING = bytes(128)

Run = tuple[int, int, bool]  # start, end, compressible


class Prober:
    """Judges blocks. For one thread."""

    def __init__(self, least: int = STEP) -> None:
        """Incompressible runs shorter than ``least`` bytes are left with what surrounds them."""
        self._least = least
        self._compressor = zstandard.ZstdCompressor(level=1, write_content_size=False)

    def runs(self, buffer: bytearray, start: int, end: int) -> Sequence[Run]:
        """Cut the bytes from ``start`` to ``end`` into runs of one kind, in order and without gaps."""
        least = min(self._least, end - start)
        if end - start < STEP:
            return [(start, end, True)]
        with memoryview(buffer) as view:
            last = end - SAMPLE
            points = [*range(start, last, STEP), last]
            edges = self._edges(view, points, self._dense(view, points))
        runs: list[Run] = []
        done = start
        # ``edges`` alternate between the starts and the ends of incompressible runs.
        for begins, ends in zip(edges[::2], edges[1::2], strict=True):
            for part, part_end in self._without_padding(buffer, begins, ends if ends < last else end):
                if part_end - part >= least:
                    if part > done:
                        runs.append((done, part, True))
                    runs.append((part, part_end, False))
                    done = part_end
        if done < end:
            runs.append((done, end, True))
        return runs

    def _dense(self, view: memoryview, points: Sequence[int]) -> list[bool]:
        samples: list[bytes | bytearray | memoryview] = [view[point : point + SAMPLE] for point in points]
        packed = self._compressor.multi_compress_to_buffer(samples)
        limit = int(SAMPLE * _WORTH)
        return [len(packed[i]) > limit for i in range(len(points))]

    def _edges(self, view: memoryview, points: Sequence[int], dense: Sequence[bool]) -> list[int]:
        """Where incompressible runs start and end: at the outermost samples that did not compress."""
        # Per edge the next sample known to be outside and inside.
        found = [
            [points[i + 1], points[i]] if dense[i] else [points[i], points[i + 1]]
            for i in range(len(points) - 1)
            if dense[i] != dense[i + 1]
        ]
        distance = STEP
        while found and distance > _EDGE:
            distance //= 2
            middles = [(outside + inside) // 2 for outside, inside in found]
            for edge, middle, is_dense in zip(found, middles, self._dense(view, middles), strict=True):
                edge[1 if is_dense else 0] = middle
        edges = [inside for _, inside in found]
        if dense[0]:
            edges.insert(0, points[0])
        if dense[-1]:
            edges.append(points[-1])
        return edges

    def _without_padding(self, buffer: bytearray, start: int, end: int) -> list[tuple[int, int]]:
        """What is left of a run without the parts that hold stretches of zeros."""
        parts: list[tuple[int, int]] = []
        for at in range(start, end, STEP):
            stop = min(at + STEP, end)
            if buffer.find(_PADDING, at, stop) < 0:
                if parts and parts[-1][1] == at:
                    parts[-1] = (parts[-1][0], stop)
                else:
                    parts.append((at, stop))
        return parts
