"""The demonstration behind ``scripts/demo``: a daemon, a world, a backup, a disaster, a restore.

Everything happens in one temporary directory that is removed at the end, whatever happens.
"""

import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
REGIONS = 40  # files of 6 MiB each, as a game world keeps them: partly compressible
PLUGINS = 12  # incompressible archives of 4 MiB
SMALL = 1500  # player data, logs, settings


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wings-demo-") as name:
        return Demo(Path(name)).run()


class Demo:
    def __init__(self, scratch: Path) -> None:
        self.root = scratch / "node"
        self.world = scratch / "world"
        self.begun = time.monotonic()

    def run(self) -> int:
        title("1. A game server's files")
        made = make_world(self.world)
        print(f"   {made.files} files, {made.bytes / MIB:.0f} MiB in {self.world}")
        before = fingerprint(self.world)

        title("2. The daemon, without panel, Docker or root")
        with self.daemon():
            title("3. Register the directory and back it up")
            self.wings("server", "add", "survival", str(self.world))
            made_backup = self.json("backup", "create", "survival")
            uuid = str(made_backup["uuid"])
            self.wings("backup", "show", uuid)

            title("4. Look inside without unpacking")
            self.wings("backup", "list")
            self.wings("backup", "tree", uuid, "world")
            self.wings("backup", "cat", uuid, "server.properties")

            title("5. Verify every byte of it")
            self.wings("backup", "verify", uuid, "--full")

            title("6. Disaster: regions deleted, settings overwritten, a stray file")
            damage(self.world)
            print(f"   {len(differences(before, fingerprint(self.world)))} entries differ from before")

            title("7. Restore, verified first, old files kept until it has succeeded")
            self.wings("backup", "restore", uuid, "--truncate")
            left = differences(before, fingerprint(self.world))
            print(f"   {len(left)} entries differ from before")

            title("8. A backup that was altered is refused before anything is touched")
            alter(next((self.root / "backups").glob(f"{uuid}.*")))
            refused = self.wings("backup", "restore", uuid, "--truncate", expect_failure=True)
            untouched = not differences(before, fingerprint(self.world))
            print(f"   exit code {refused}, the world is {'untouched' if untouched else 'CHANGED'}")

        title(f"Done in {time.monotonic() - self.begun:.0f} s; nothing is left behind")
        if left or not untouched or not refused:
            print("   NOT as it should be: " + ", ".join(left[:5]))
            return 1
        return 0

    def wings(self, *arguments: str, expect_failure: bool = False) -> int:
        print(f"\n   $ wings --root {shlex.quote(str(self.root))} {shlex.join(arguments)}", flush=True)
        done = subprocess.run(self.command(*arguments), check=False)
        if (done.returncode != 0) != expect_failure:
            raise SystemExit(f"the command ended with exit code {done.returncode}")
        return done.returncode

    def json(self, *arguments: str) -> dict[str, object]:
        print(f"\n   $ wings --root {shlex.quote(str(self.root))} {shlex.join(arguments)} --json", flush=True)
        begun = time.monotonic()
        done = subprocess.run(self.command(*arguments, "--json"), stdout=subprocess.PIPE, check=True)
        seconds = time.monotonic() - begun
        answer: dict[str, object] = json.loads(done.stdout)
        print(f"   {json.dumps(answer)}\n   took {seconds:.2f} s")
        return answer

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "wings", "--root", str(self.root), *arguments]

    @contextmanager
    def daemon(self) -> Iterator[None]:
        print(f"   $ wings --root {shlex.quote(str(self.root))} &")
        process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL)
        try:
            begun = time.monotonic()
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            while subprocess.run(self.command("health"), check=False, **quiet).returncode != 0:  # type: ignore[call-overload]  # typeshed wants the keywords spelt out
                if process.poll() is not None or time.monotonic() - begun > 30:
                    raise SystemExit("the daemon did not start; its messages are above")
                time.sleep(0.1)
            print(f"   ready after {time.monotonic() - begun:.1f} s")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


class Made:
    files = 0
    bytes = 0


def make_world(world: Path) -> Made:
    """Something like a Minecraft server: regions, plug-ins, many small files, links, an empty directory."""
    made = Made()
    chance = random.Random(20)
    words = [f"chunk_{n:04x} " for n in range(4096)]

    def put(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        made.files += 1
        made.bytes += len(data)

    for number in range(REGIONS):
        noise = chance.randbytes(2 * MIB)
        text = "".join(chance.choices(words, k=60_000)).encode()
        put(world / "world" / "region" / f"r.{number % 8}.{number // 8}.mca", (noise + text * 8)[: 6 * MIB])
    for number in range(PLUGINS):
        put(world / "plugins" / f"plugin-{number:02}.jar", chance.randbytes(4 * MIB))
    for number in range(SMALL):
        text = "".join(chance.choices(words, k=chance.randrange(20, 400)))
        put(world / "world" / "playerdata" / f"{number % 16:x}" / f"player-{number:05}.dat", text.encode())
    put(world / "server.properties", b"motd=A world worth keeping\nmax-players=20\n")
    put(world / "start.sh", b"#!/bin/sh\nexec java -jar server.jar\n")
    (world / "start.sh").chmod(0o755)
    (world / "logs").mkdir()
    (world / "current").symlink_to("world/region")
    return made


def damage(world: Path) -> None:
    for region in sorted((world / "world" / "region").iterdir())[::2]:
        region.unlink()
    (world / "server.properties").write_bytes(b"oops\n")
    shutil.rmtree(world / "plugins")
    (world / "stray").write_bytes(b"not from the backup\n")


def alter(archive: Path) -> None:
    with archive.open("r+b") as file:
        file.seek(archive.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x01]))


def fingerprint(tree: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of every entry."""
    seen: dict[str, tuple[int, str]] = {}
    for path in sorted(tree.rglob("*")):
        facts = path.lstat()
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = "directory"
        seen[str(path.relative_to(tree))] = (facts.st_mode, content)
    return seen


def differences(one: dict[str, tuple[int, str]], other: dict[str, tuple[int, str]]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
