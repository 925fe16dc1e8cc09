"""One command for everything a developer does: `python3 tools/dev.py setup|demo|test|check|bench|schema|...`.

It makes `.venv` from `requirements.lock` the first time and whenever the lock changes, and then gets out of the way.
Standard library only, because it runs before anything is installed. It needs python 3.11 and pip 22.3, and neither
root, make, nor Debian's python3-venv: the environment is made without ensurepip and filled by the pip outside it.
The project itself is not built: a .pth file and one launcher per command of `pyproject.toml` are enough, and need
no network. It refuses to know what the tests test or the demo shows.
"""

from __future__ import annotations  # so that an old python gets as far as the line that says it is old

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BYTECODE = VENV / "bytecode"
STAMP = VENV / "made-from"
"""What this environment was made from; written last, so that a half-made one is made again."""

MIN_PYTHON = (3, 11)
MIN_PIP = (22, 3)
"""The first pip with `--python`, which installs into an environment that has no pip of its own."""

LAUNCHER = """\
#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/python" "$0" "$@"
' '''
import sys

from {module} import {function}

sys.exit({function}())
"""
"""Shell and Python at once, as pip does it: a `#!` line can hold neither a space nor a long path."""

NO_NETWORK = ("NewConnectionError", "Temporary failure in name resolution", "Name or service not known",
              "Network is unreachable", "Connection refused", "timed out", "ProxyError", "ConnectTimeout", "SSLError")
"""What pip writes when it reaches no index."""

LONG = ("kills", "reconnects", "soak")
"""Benches of half an hour and more: by their names only."""
COMPILED = ("swarm", "bench")


COVERAGE, SETUPTOOLS = "coverage==7.17.3", "setuptools==84.2.1"
"""Not in the lock: only `coverage` and `compiled` use them, in environments of their own that see .venv's packages."""
CORE = ("admission", "agenda", "allowance", "answers", "asking", "desk", "envelope", "intake", "ledger", "nonce",
        "orders", "pulse", "regime", "restart", "roots", "signers", "site", "sounding", "stopping", "strain",
        "succession", "trust", "wall", "withdrawal", "writing")
"""Modules of controller/ that decide who may order what, and what becomes of it: every branch is taken by a test ..."""
CORE_TESTS = (*(f"tests/attacks/test_{name}.py" for name in ("intake_bounds", "rare_ways", "reasons")),
              *(f"tests/controller/test_{name}.py" for name in (
                  "admission", "allowance", "core_branches", "desk", "gateway", "ledger", "lockout", "lockout_city",
                  "lockout_disk", "lockout_siren", "modes", "motor", "nonce", "orders", "orders_again", "orders_disk",
                  "orders_intake", "orders_local", "orders_promises", "orders_refused", "orders_restart",
                  "orders_stop", "policy", "priority", "seldom", "signers", "siren", "siren_agenda", "siren_clock",
                  "siren_evidence", "siren_fault", "siren_isolator", "siren_promises", "siren_quiet", "siren_stop",
                  "siren_trouble", "siren_without_order", "strain", "succession", "succession_disk",
                  "succession_journal", "targets", "trust", "withdrawal", "written_late")))
"""... of these files, in the same process."""


class Stop(Exception):
    """The work cannot be done, and why: in English and in Chinese, with the remedy."""

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(f"error: {english}\n错误：{chinese}")


def main() -> int:
    try:
        if sys.version_info < MIN_PYTHON:
            raise Stop(f"python {sys.version.split()[0]} is too old, 3.11 is needed: sudo apt install python3"
                       " (Debian 12, Ubuntu 24.04 or newer), or run: python3.11 tools/dev.py ...",
                       f"Python {sys.version.split()[0]} 版本过低，需要 3.11 或更高：sudo apt install python3"
                       "（Debian 12、Ubuntu 24.04 及以上），或改用 python3.11 tools/dev.py …")
        return run()
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run() -> int:
    words = sys.argv[1:]
    if not words or words[0] in {"-h", "--help", "help"}:
        print(__doc__)
        for name, (_, manual) in COMMANDS.items():
            print(f"  {name:8}{manual}")
        return 0
    if words[0] not in COMMANDS:
        raise Stop(f"{words[0]!r} is none of: {', '.join(COMMANDS)}",
                   f"没有 {words[0]!r} 这个命令；可用：{'、'.join(COMMANDS)}")
    os.chdir(ROOT)
    return COMMANDS[words[0]][0](words[1:])


# What the environment is made of.


def setup(rest: list[str]) -> int:
    if ensure_venv():
        print("made .venv; nothing else of this machine was changed")
    # Here, by who owns the folder: the service's user may not write to it, and would compile it all at each start.
    return subprocess.run([PYTHON, "-c", "import controller.daemon, controller.ctl.__main__, hub.__main__"]).returncode


def ensure_venv() -> bool:
    """Make `.venv` unless it is current; whether it had to be made."""
    want = fingerprint()
    if current(want):
        return False
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # two `make` at once: the second waits, and then finds it made
        if current(want):
            return False
        make_venv()
        STAMP.write_text(want, encoding="utf-8")
    finally:
        os.close(folder)
    return True


def fingerprint() -> str:
    """The lock, the commands, and the folder: pip writes its path into the scripts it installs."""
    made_of = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), LAUNCHER.encode(), os.fsencode(ROOT)]
    return hashlib.sha256(b"\0".join(made_of)).hexdigest() + "\n"


def current(want: str) -> bool:
    return STAMP.is_file() and PYTHON.exists() and STAMP.read_text(encoding="utf-8") == want


def make_venv() -> None:
    outside = outside_python()
    check_pip(outside)
    print("making .venv from requirements.lock (once, about half a minute) / 正在创建 .venv（仅首次，约半分钟）",
          file=sys.stderr, flush=True)
    subprocess.run([outside, "-m", "venv", "--clear", "--without-pip", VENV], check=True)
    # No cache of bytecode: compiling what is never imported takes a third of the time.
    install = [outside, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", "--disable-pip-version-check",
               "--no-compile", "--no-user", "--require-hashes", "--no-deps", "-r", str(LOCK)]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True, errors="replace", env=clean_environment())
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-4000:])
        raise why_pip_failed(done.stderr)
    write_launchers()


def outside_python() -> str:
    """The python to build with: this one, or, inside some environment, the one that was made from."""
    if sys.prefix != sys.base_prefix:
        return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return sys.executable


def clean_environment() -> dict[str, str]:
    """Without what would send pip elsewhere than into .venv."""
    unwanted = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def check_pip(python: str) -> None:
    asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True)
    found = asked.stdout.split()[1] if asked.returncode == 0 else ""
    if not found:
        raise Stop(f"{python} has no pip: sudo apt install python3-pip",
                   f"{python} 没有 pip：请执行 sudo apt install python3-pip")
    if tuple(int(part) for part in found.split(".")[:2]) < MIN_PIP:
        raise Stop(f"pip {found} is too old, 22.3 is needed: python3 -m pip install --user --upgrade pip",
                   f"pip {found} 版本过低，需要 22.3 或更高：python3 -m pip install --user --upgrade pip")


def why_pip_failed(said: str) -> Stop:
    if "do not match the hashes" in said.lower():
        return Stop("a package is not the one in requirements.lock (its hash differs): the mirror or a proxy"
                    " changed it. Use another mirror: pip config set global.index-url URL",
                    "下载的软件包与 requirements.lock 的哈希不符：镜像源或代理改动了它。"
                    "请更换镜像源：pip config set global.index-url URL")
    if any(mark in said for mark in NO_NETWORK):
        return Stop("no package index can be reached. Connect this machine, or name a mirror that it can reach:"
                    " pip config set global.index-url URL; or a folder of wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER",
                    "无法连接软件包源。请接入网络，或指定可用的镜像源：pip config set global.index-url URL；"
                    "离线时用 wheel 文件夹：PIP_NO_INDEX=1 PIP_FIND_LINKS=文件夹")
    return Stop("pip could not install requirements.lock; what it said stands above."
                " Needed: 64-bit Linux on x86-64 or ARM",
                "pip 未能安装 requirements.lock，原因见上文。需要 64 位 Linux（x86-64 或 ARM）")


def write_launchers() -> None:
    """The project in its own environment: its folder on the path, and a launcher for each of its commands."""
    import tomllib  # here, because python 3.10 lacks it and must get as far as being told so

    site = next(VENV.glob("lib/python3*/site-packages"))
    # Relative to site-packages, so that no letter of the folder's name can be misread.
    (site / "siren-gateway.pth").write_text(os.path.relpath(ROOT, site) + "\n", encoding="ascii")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        path = VENV / "bin" / name
        path.write_text(LAUNCHER.format(module=module, function=function), encoding="ascii")
        path.chmod(0o755)


# What it is used for.


def python(*words: object) -> int:
    """Run .venv's python in place of this process, so that Ctrl-C and the exit code are its own.

    Tests and the demo start hundreds of processes, and compiling is half of a process's start: where the environment
    wants no bytecode beside the sources, it is kept in .venv.
    """
    ensure_venv()
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(BYTECODE))
    sys.stdout.flush()
    os.execv(PYTHON, [str(PYTHON), *map(str, words)])


def demo(rest: list[str]) -> int:
    return python("-m", "simulators.demo", *rest)


def demo_flood(rest: list[str]) -> int:
    return python("-m", "simulators.flood_demo", *rest)


def test(rest: list[str]) -> int:
    """Four files at a time: half of the tests compute, and half wait for real processes and lines."""
    return python("-m", "pytest", "-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", *rest)


def check(rest: list[str]) -> int:
    """All three, whatever the first says: a person mends them in one go."""
    ensure_venv()
    failed = 0
    for words in (["ruff", "check", "."], ["mypy"], ["lint-imports", "--no-logo"]):
        print("==", *words, flush=True)
        failed |= subprocess.run([VENV / "bin" / words[0], *words[1:]]).returncode
    return 1 if failed else 0


def coverage(rest: list[str]) -> int:
    """Every branch of the core, or a failure that names the ones that no test took. Takes minutes."""
    place = beside("coverage", COVERAGE)
    os.environ["COVERAGE_FILE"] = str(place / "data")
    tool = [str(place / "bin" / "python"), "-m", "coverage"]
    core = "--include=" + ",".join(f"controller/{name}.py" for name in CORE)
    # Traced, a test takes several times as long.
    test = ["-m", "pytest", "-q", "--timeout=600", *CORE_TESTS, *rest]
    tested = subprocess.run([*tool, "run", "--branch", core, *test]).returncode
    told = subprocess.run([*tool, "report", "--show-missing", "--skip-covered", "--fail-under=100"]).returncode
    return tested or told


def beside(name: str, package: str) -> Path:
    """An environment with one more package. Those of .venv are looked up there, so it is made in seconds."""
    ensure_venv()
    place = ROOT / "build" / name
    made, want = place / "made-from", fingerprint() + package
    if made.is_file() and made.read_text(encoding="utf-8") == want:
        return place
    outside = outside_python()
    check_pip(outside)
    subprocess.run([outside, "-m", "venv", "--clear", "--without-pip", place], check=True)
    here, there = (next(one.glob("lib/python3*/site-packages")) for one in (place, VENV))
    paths = "".join(f"{os.path.relpath(one, here)}\n" for one in (ROOT, there))
    (here / "siren-gateway.pth").write_text(paths, encoding="ascii")
    install = [outside, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--no-user", package]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True, errors="replace", env=clean_environment())
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-4000:])
        raise why_pip_failed(done.stderr)
    made.write_text(want, encoding="utf-8")
    return place


def bench(rest: list[str]) -> int:
    """One by its name, with its own arguments; without a name all that take minutes, one after the other."""
    known = sorted(p.stem for p in (ROOT / "bench").glob("*.py") if '__name__ == "__main__"' in p.read_text("utf-8"))
    if rest:
        if rest[0] not in known:
            raise Stop(f"no bench {rest[0]!r}; there are: {', '.join(known)}",
                       f"没有 {rest[0]!r} 这项测量；可用：{'、'.join(known)}")
        return python("-m", f"bench.{rest[0]}", *rest[1:])
    ensure_venv()
    failed = 0
    for name in [name for name in known if name not in LONG]:
        print("==", name, flush=True)
        failed |= subprocess.run([PYTHON, "-m", f"bench.{name}"]).returncode
    return 1 if failed else 0


def swarm(rest: list[str]) -> int:
    return python("-m", "simulators.swarm", *rest)


def compiled(rest: list[str]) -> int:
    """`swarm` or `bench`, with the busiest modules of the made-up world compiled. What follows goes to it."""
    if not rest or rest[0] not in COMPILED:
        raise Stop(f"say what to run compiled: {' or '.join(COMPILED)}", f"请说明要编译运行什么：{'、'.join(COMPILED)}")
    tool = beside("compiler", SETUPTOOLS) / "bin" / "python"
    made = subprocess.run([tool, ROOT / "tools" / "compiled.py"], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        return made.returncode
    # Ahead of the project's own folder, which .venv has on its path.
    os.environ |= {"PYTHONPATH": made.stdout.strip(), "PYTHONSAFEPATH": "1"}
    return COMMANDS[rest[0]][0](rest[1:])


def states(rest: list[str]) -> int:
    return python(ROOT / "tools" / "states.py", *rest)


def library(rest: list[str]) -> int:
    return python(ROOT / "tools" / "library.py", *rest)


def schema(rest: list[str]) -> int:
    return python(ROOT / "tools" / "schema.py", *rest)


def lock(rest: list[str]) -> int:
    """Universal: one file for x86-64, ARM and every python from 3.11. No URL in it: the mirror is yours to choose."""
    if shutil.which("uv") is None:
        raise Stop("`lock` needs uv, which resolves for all platforms at once: pipx install uv",
                   "`lock` 需要 uv（一次解析所有平台）：pipx install uv")
    words = ["uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--extra", "demo", "--universal",
             "-p", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "-o", "requirements.lock"]
    return subprocess.run([*words, *rest], stdout=subprocess.DEVNULL).returncode


COMMANDS = {
    "setup": (setup, "make .venv from requirements.lock"),
    "demo": (demo, "a whole small city on this machine, with simulated hardware"),
    "demo-flood": (demo_flood, "a storm in two minutes at one underpass, with a live curve"),
    "test": (test, "all tests; what follows goes to pytest"),
    "check": (check, "ruff, mypy --strict and the import contracts"),
    "coverage": (coverage, "every branch of the core by its tests, or which are left; some minutes"),
    "bench": (bench, "measure: all, or the one named; what follows its name goes to it"),
    "swarm": (swarm, "seeded worlds with every fault, judged by the promises: --seeds N --first K, --seed K --trace"),
    "compiled": (compiled, "swarm or bench, with the world as machine code: the same lives, sooner (needs gcc)"),
    "states": (states, "draw docs/states.md from the transition tables"),
    "schema": (schema, "write docs/schema/*.json from the models"),
    "library": (library, "write docs/library.md from the profiles"),
    "lock": (lock, "resolve requirements.lock again (needs uv)"),
}

if __name__ == "__main__":
    sys.exit(main())
