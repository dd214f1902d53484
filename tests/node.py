"""A daemon as users run it, driven over its socket, for measuring and for fault tests."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("wings", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Node:
    """``wings --root ROOT`` as a process. Use as a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, timeout: float = 30) -> None:
        """Start and wait until it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wings", "--root", str(self.root)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self.process.returncode}")
            try:
                self.token = yaml.safe_load((self.root / "config.yml").read_text())["token"]
                if self.call("GET", "/api/health")["status"] == "ready":
                    return
            except (OSError, http.client.HTTPException, KeyError, TypeError):
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("the daemon did not become ready")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)

    def call(self, method: str, path: str, body: object = None) -> Any:  # the answers are JSON of many shapes
        """One request; the decoded answer. Raises ``RuntimeError`` for an error status."""
        data = self.fetch(method, path, body)
        return json.loads(data) if data else None

    def fetch(self, method: str, path: str, body: object = None) -> bytes:
        """One request; the body as it is. Raises ``RuntimeError`` for an error status."""
        connection = _UnixConnection(self.root / "wings.sock")
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {data.decode()}")
        return data

    def add_server(self, name: str, path: Path) -> str:
        """Register a directory; its uuid."""
        return str(self.call("POST", "/api/local/servers", {"name": name, "path": str(path)})["uuid"])

    def finish(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait for a job's end; raises ``RuntimeError`` unless it succeeded."""
        while job["state"] in ("queued", "running"):
            job = self.call("GET", f"/api/jobs/{job['id']}?wait=30")
        if job["state"] != "succeeded":
            raise RuntimeError(f"job {job['kind']} {job['state']}: {job.get('error')}")
        return job

    def create(self, server: str, format: str) -> str:
        """Back up and wait; the backup's uuid."""
        answer = self.call("POST", "/api/local/backups", {"server": server, "format": format})
        self.finish(answer["job"])
        return str(answer["uuid"])

    def restore(self, uuid: str, server: str, *, truncate: bool = False) -> dict[str, Any]:
        """Restore and wait; the job."""
        answer = self.call("POST", f"/api/local/backups/{uuid}/restore", {"server": server, "truncate": truncate})
        return self.finish(answer["job"])

    def delete(self, uuid: str) -> None:
        """Delete and wait."""
        self.finish(self.call("DELETE", f"/api/local/backups/{uuid}")["job"])

    def peak_memory(self) -> int:
        """Bytes of resident memory at the highest since ``reset_peak``."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmHWM")

    def reset_peak(self) -> None:
        """Start counting the peak anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
