"""Measures the daemon against the real tools, in turn and in the same run; the body of ``scripts/bench``.

Every figure is the median of several runs, ours and the peer's alternating, on a warm cache. Ours is a whole
job through HTTP: queue, walk, archive, SHA-256, fsync, catalogue. Restores go into fresh directories;
deleting happens outside the clock. Nothing here is a test: it never fails for being slow.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import data
from tests.node import Node

RESULTS = Path(__file__).with_name("RESULTS.md")
MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    ours: str
    theirs: str
    ratio: str
    bar: str
    met: bool | None


class Bench:
    """Owns the scratch directory and the daemon."""

    def __init__(self, scratch: Path, node: Node, runs: int) -> None:
        self.scratch = scratch
        self.node = node
        self.runs = runs
        self.rows: list[Row] = []
        self._number = 0

    def fresh(self) -> Path:
        """A new empty directory."""
        self._number += 1
        path = self.scratch / f"fresh-{self._number}"
        path.mkdir()
        return path

    def create(self, tree: Path, server: str, format: str, peer: str, work: str, bar: float) -> None:
        """Compare a create with a shell command that writes ``{out}`` from the current directory."""
        ours, theirs, sizes = [], [], (0, 0)
        for _ in range(self.runs):
            begun = time.monotonic()
            uuid = self.node.create(server, format)
            ours.append(time.monotonic() - begun)
            out = self.scratch / "peer.out"
            theirs.append(shell(peer.format(out=out), tree))
            sizes = (self.node.call("GET", f"/api/local/backups/{uuid}")["size"], out.stat().st_size)
            self.node.delete(uuid)
            out.unlink()
        note = f"{sizes[0] / MIB:.0f} against {sizes[1] / MIB:.0f} MiB"
        self.compare(f"{work} ({note})", ours, theirs, bar)

    def restore(self, server: str, format: str, peer: str, work: str, bar: float) -> None:
        """Compare a restore with a shell command that unpacks ``{archive}`` into the current directory."""
        uuid = self.node.create(server, format)
        archive = next((self.node.root / "backups").glob(f"{uuid}.*"))
        archive.read_bytes()
        ours, theirs = [], []
        for _ in range(self.runs):
            target = self.fresh()
            other = self.node.add_server(target.name, target)
            begun = time.monotonic()
            self.node.restore(uuid, other)
            ours.append(time.monotonic() - begun)
            self.node.call("DELETE", f"/api/local/servers/{other}")
            shutil.rmtree(target)
            target = self.fresh()
            theirs.append(shell(f"{peer.format(archive=archive)} && sync -f .", target))
            shutil.rmtree(target)
            os.sync()
        self.node.delete(uuid)
        self.compare(work, ours, theirs, bar)

    def compare(self, work: str, ours: list[float], theirs: list[float], bar: float) -> None:
        """Add a row; the ratio says how many times as fast as the peer ours is."""
        mine, other = statistics.median(ours), statistics.median(theirs)
        ratio = other / mine
        self.add(Row(work, f"{mine:.2f} s", f"{other:.2f} s", f"{ratio:.2f} ×", f"≥ {bar} ×", ratio >= bar))

    def add(self, row: Row) -> None:
        """Keep and show a row."""
        self.rows.append(row)
        print(f"  {row.work}: ours {row.ours}, peer {row.theirs}, {row.ratio} (bar {row.bar})", flush=True)


def shell(command: str, directory: Path) -> float:
    """Seconds a shell command takes."""
    begun = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-ec", command], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def throughput(bench: Bench, only: str) -> None:
    """Create and restore against the tools people would use by hand."""
    mixed, small = bench.scratch / "mixed", bench.scratch / "small"
    big, tiny = "mixed", "small"
    jobs: list[tuple[str, Callable[[], None]]] = [
        ("create tar_gz a", lambda: bench.create(mixed, big, "tar_gz", PEERS["tar_gz"], "tar_gz create (a)", 4)),
        (
            "create tar_zstd a",
            lambda: bench.create(mixed, big, "tar_zstd", PEERS["tar_zstd"], "tar_zstd create (a)", 1),
        ),
        (
            "create tar_zstd b",
            lambda: bench.create(small, tiny, "tar_zstd", PEERS["tar_zstd"], "tar_zstd create (b)", 0.6),
        ),
        ("create tar_gz b", lambda: bench.create(small, tiny, "tar_gz", PEERS["tar_gz"], "tar_gz create (b)", 1)),
        (
            "restore tar_gz a",
            lambda: bench.restore(big, "tar_gz", "pigz -dc {archive} | tar -xf -", "tar_gz restore (a)", 1),
        ),
        (
            "restore tar_zstd a",
            lambda: bench.restore(big, "tar_zstd", "zstd -dc {archive} | tar -xf -", "tar_zstd restore (a)", 1),
        ),
        (
            "restore tar_gz b",
            lambda: bench.restore(tiny, "tar_gz", "pigz -dc {archive} | tar -xf -", "tar_gz restore (b)", 0.6),
        ),
        (
            "create zip a",
            lambda: bench.create(
                mixed,
                big,
                "zip",
                "rm -f {out}.zip; zip -q -1 -r {out}.zip . && mv {out}.zip {out}",
                "zip create (a)",
                3,
            ),
        ),
        (
            "create seven_zip a",
            lambda: bench.create(
                mixed,
                big,
                "seven_zip",
                "rm -f {out}.7z; 7zz a -bd -mx=1 {out}.7z . && mv {out}.7z {out}",
                "seven_zip create (a)",
                0.9,
            ),
        ),
        (
            "create tar_xz a",
            lambda: bench.create(mixed, big, "tar_xz", "tar -cf - . | xz -1 -T2 > {out}", "tar_xz create (a)", 0.9),
        ),
        (
            "create tar_bz2 a",
            lambda: bench.create(
                mixed, big, "tar_bz2", "tar -cf - . | pbzip2 -1 -p2 -c > {out}", "tar_bz2 create (a)", 0.9
            ),
        ),
        (
            "create tar_lz4 a",
            lambda: bench.create(mixed, big, "tar_lz4", "tar -cf - . | lz4 -q -1 > {out}", "tar_lz4 create (a)", 1),
        ),
        (
            "create tar_lzip a",
            lambda: bench.create(
                mixed, big, "tar_lzip", "tar -cf - . | plzip -1 -n2 > {out}", "tar_lzip create (a)", 0.9
            ),
        ),
    ]
    wanted = [job for name, job in jobs if only in name]
    if wanted or only in "memory tar":
        a, b = data.mixed(mixed), data.small(small)
        print(f"data: (a) {a / MIB:.0f} MiB, (b) {b / MIB:.0f} MiB in 20,000 files", flush=True)
        bench.node.add_server(big, mixed)
        bench.node.add_server(tiny, small)
    for job in wanted:
        job()


PEERS = {
    "tar_gz": "tar -cf - . | pigz -1 -p2 > {out}",
    "tar_zstd": "tar -cf - . | zstd -q -1 -T2 > {out}",
}


def memory(bench: Bench, only: str) -> None:
    """Peak memory of the daemon, which must not depend on the size of the server."""
    for gib in (1, 10, 20):
        if only not in f"memory sparse {gib}":
            continue
        tree = bench.fresh()
        data.sparse(tree, gib << 30)
        server = bench.node.add_server(f"sparse-{gib}", tree)
        bench.node.reset_peak()
        begun = time.monotonic()
        uuid = bench.node.create(server, "tar_gz")
        seconds = time.monotonic() - begun
        peak = bench.node.peak_memory()
        bench.node.delete(uuid)
        shutil.rmtree(tree)
        bench.add(
            Row(
                f"peak memory, {gib} GiB sparse file",
                f"{peak / MIB:.0f} MiB",
                f"({seconds:.1f} s)",
                "",
                "< 250 MiB",
                peak < 250 * MIB,
            )
        )
    for format in ("tar_gz", "tar_zstd", "tar_xz", "tar_bz2", "tar_lz4", "tar_lzip", "zip", "seven_zip"):
        if only not in f"memory {format}" or not (bench.scratch / "mixed").exists():
            continue
        bench.node.reset_peak()
        uuid = bench.node.create("mixed", format)
        target = bench.fresh()
        other = bench.node.add_server(target.name, target)
        bench.node.restore(uuid, other)
        peak = bench.node.peak_memory()
        bench.node.call("DELETE", f"/api/local/servers/{other}")
        bench.node.delete(uuid)
        shutil.rmtree(target)
        bench.add(
            Row(
                f"peak memory, {format} create and restore (a)",
                f"{peak / MIB:.0f} MiB",
                "",
                "",
                "< 250 MiB",
                peak < 250 * MIB,
            )
        )


def entries(bench: Bench, only: str) -> None:
    """The cost of an entry must not grow with their number."""
    if only not in "entries":
        return
    costs: dict[int, float] = {}
    for count in (10, 1000, 100_000):
        tree = bench.fresh()
        data.empty_files(tree, count)
        server = bench.node.add_server(f"empty-{count}", tree)
        times = []
        for _ in range(bench.runs):
            begun = time.monotonic()
            uuid = bench.node.create(server, "tar_gz")
            times.append(time.monotonic() - begun)
            bench.node.delete(uuid)
        costs[count] = statistics.median(times)
        shutil.rmtree(tree)
    # What ten files take is the price of a job; the rest is the entries'.
    each = {count: (costs[count] - costs[10]) / (count - 10) * 1e6 for count in (1000, 100_000)}
    ratio = each[100_000] / each[1000] if each[1000] > 0 else 0.0
    bench.add(
        Row(
            "cost of an empty file, 100,000 against 1,000",
            f"{each[100_000]:.1f} µs",
            f"{each[1000]:.1f} µs",
            f"{ratio:.2f} ×",
            "≤ 1.2 ×",
            ratio <= 1.2,
        )
    )
    bench.add(Row("a job of ten empty files", f"{costs[10] * 1e3:.0f} ms", "", "", "", None))


def browsing(bench: Bench, only: str) -> None:
    """First listing of a tar_gz with 50,000 entries, and one file out of it."""
    if only not in "browse":
        return
    tree = bench.fresh()
    for number in range(50_000):
        path = tree / f"d{number // 250:03}" / f"f{number % 250:03}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
    server = bench.node.add_server("fifty-thousand", tree)
    uuid = bench.node.create(server, "tar_gz")
    begun = time.monotonic()
    listed = bench.node.call("GET", f"/api/local/backups/{uuid}/tree")
    first = time.monotonic() - begun
    begun = time.monotonic()
    bench.node.call("GET", f"/api/local/backups/{uuid}/tree?path=d123")
    second = time.monotonic() - begun
    begun = time.monotonic()
    assert bench.node.fetch("GET", f"/api/local/backups/{uuid}/file?path=d150/f100") == b"x" * 100
    one = time.monotonic() - begun
    bench.node.delete(uuid)
    shutil.rmtree(tree)
    bench.add(
        Row(
            f"first listing of 50,000 entries ({len(listed)} at the root)",
            f"{first * 1e3:.0f} ms",
            "",
            "",
            "< 300 ms",
            first < 0.3,
        )
    )
    bench.add(Row("another directory of it", f"{second * 1e3:.0f} ms", "", "", "", None))
    bench.add(Row("one file out of it", f"{one * 1e3:.0f} ms", "", "", "one member", None))


def report(rows: list[Row], command: str) -> str:
    """The table as Markdown."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    lines = [
        f"## {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`{command}` on {os.cpu_count()} × {processor}, Python {sys.version.split()[0]}. Ratio = peer's time / ours.",
        "",
        "| Work | Ours | Peer | Ratio | Bar | Met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = "" if row.met is None else "yes" if row.met else "**no**"
        lines.append(f"| {row.work} | {row.ours} | {row.theirs} | {row.ratio} | {row.bar} | {met} |")
    return "\n".join(lines) + "\n"


@contextmanager
def scratch(where: str | None) -> Iterator[Path]:
    """A directory for data, peers and the daemon, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="wings-bench-", dir=where) as name:
        yield Path(name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure wings against the real tools.")
    parser.add_argument("--runs", type=int, default=5, help="runs per figure; the median counts")
    parser.add_argument("--only", default="", help="run only rows whose name holds this text, e.g. 'create tar_gz'")
    parser.add_argument("--where", help="directory for the scratch data (default: the system's temporary one)")
    parser.add_argument("--keep", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    with scratch(options.where) as place, Node(place / "node") as node:
        bench = Bench(place, node, options.runs)
        for part in (throughput, memory, entries, browsing):
            part(bench, options.only)
    table = report(bench.rows, "scripts/bench" + "".join(f" {word}" for word in sys.argv[1:]))
    print("\n" + table)
    if options.keep:
        head, mark, rest = RESULTS.read_text().partition("\n## ") if RESULTS.exists() else ("# Measurements\n", "", "")
        RESULTS.write_text(head.rstrip() + "\n\n" + table + (mark + rest if mark else ""))
        print(f"written to {RESULTS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
