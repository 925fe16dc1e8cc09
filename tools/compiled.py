"""The made-up world as machine code: a copy of the project whose busiest modules mypyc has compiled, for long runs.

    python3 tools/dev.py compiled swarm --seeds 2000 --ledger build/swarm
    python3 tools/dev.py compiled bench swarm

The source is the very source and stays where it is; `sirend` is never compiled. mypyc comes with mypy, and the C
compiler and Python's headers are the machine's. A copy is used only after some lives in it had the hashes that they
have in the interpreter, and it is made again for every other state of the code (decision 0013).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "compiled"
COPIED = ("firmware_bridge", "controller", "hub", "simulators", "bench", "configs")
STAMP = "checked"
"""Written last."""
CHECKED = 12
"""Lives that are compared: floods, SAFE-MIN and clones are among them."""

BUSIEST = {
    "firmware_bridge": ("action", "belief", "bus", "device", "event", "flight", "framing", "machine", "modbus",
                        "monitor", "move", "octets", "plan", "queue", "reading", "scan", "sift", "unit"),
    "controller": ("agenda", "arming", "event", "evidence", "fault", "floods", "gateway", "grade", "isolator", "level",
                   "motor", "notices", "orders", "outbox", "panel", "phase", "pulse", "quiet", "rule", "session",
                   "siren", "sounding", "switch", "tickets", "vote", "watch"),
    "simulators": ("answers", "behaviour", "broker", "chronicle", "damage", "device", "dialect", "disk", "endpoint",
                   "field", "fields", "line", "memory", "net", "output", "world"),
}
"""Where a life spends its time. Modules with pydantic's models stay as they are: pydantic wants classes of Python."""

SETUP = """\
from mypyc.build import mypycify
from setuptools import setup

setup(name="world", packages=[], ext_modules=mypycify({words!r}, opt_level="2", debug_level="0"))
"""


def main() -> int:
    """Make the copy unless it is there, and print where."""
    where = PLACE / fingerprint()
    if not (where / STAMP).is_file():
        try:
            make(where)
        except subprocess.CalledProcessError as error:
            print(f"{error.stdout}\nthe world could not be compiled; needed are gcc and Python's headers:"
                  " sudo apt install gcc libc6-dev python3-dev\n"
                  "编译失败，需要 gcc 与 Python 头文件：sudo apt install gcc libc6-dev python3-dev", file=sys.stderr)
            return 2
    print(where)
    return 0


def fingerprint() -> str:
    """Of all that is copied, and of the interpreter it is compiled for."""
    told = hashlib.sha256(f"{sys.version}{sys.executable}".encode() + Path(__file__).read_bytes())
    for file in sources():
        told.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return told.hexdigest()[:16]


def sources() -> list[Path]:
    found = [ROOT / "pyproject.toml"]
    for name in COPIED:
        found += [p for p in (ROOT / name).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return sorted(found)


def make(where: Path) -> None:
    print("compiling the world (once for each state of the code, a minute or two) / 正在编译模拟世界（代码每次改动后"
          "一次，约一两分钟）", file=sys.stderr, flush=True)
    shutil.rmtree(where, ignore_errors=True)
    for file in sources():
        copy = where / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    busiest = [f"{room}/{name}.py" for room, names in BUSIEST.items() for name in names]
    words = ["--config-file=pyproject.toml", *busiest]
    (where / "setup.py").write_text(SETUP.format(words=words), encoding="utf-8")
    build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(build, cwd=where, env=os.environ | {"PYTHONPATH": str(where)}, check=True, text=True,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shutil.rmtree(where / "build")
    for seed in range(CHECKED):
        here, there = (lived(seed, folder) for folder in (ROOT, where))
        if here != there:
            raise SystemExit(f"seed {seed} lives otherwise when it is compiled: {there}, and not {here}")
    (where / STAMP).write_text("", encoding="utf-8")


def lived(seed: int, folder: Path) -> object:
    """What a seed comes to, with the code of a folder."""
    words = [sys.executable, "-P", "-m", "simulators.swarm", "--seed", str(seed)]
    said = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(folder)}, text=True, stdout=subprocess.PIPE).stdout
    return json.loads(said.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
