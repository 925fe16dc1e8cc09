"""A simulated site as its own process, for benches: `with Site(file) as site: site.ask({"do": "state"})`."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent


class Site:
    """`siren-sim serve` on a copy of a site file in a temporary folder."""

    def __init__(self, file: Path, settings: list[str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        shutil.copytree(file.parent, self.folder / "site", ignore=shutil.ignore_patterns("run", "*.pyc"))
        self.file = self.folder / "site" / file.name
        self.log = self.folder / "sounds.jsonl"
        self.frames = self.folder / "frames.jsonl"
        self._settings = [part for one in settings or [] for part in ("--set", one)]

    def __enter__(self) -> "Site":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simulators", "serve", str(self.file), "--log", str(self.log),
             "--frames", str(self.frames), *self._settings],
            stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise SystemExit(f"bench: the site did not start: {line}")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self._temporary.cleanup()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the control door."""
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(self.file.parent / "run" / "bench.sock"))
            door.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(door.makefile().readline())  # type: ignore[no-any-return]

    def frames_seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.frames.read_text().splitlines()]
