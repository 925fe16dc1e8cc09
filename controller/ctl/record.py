"""录制线路 / record what sirend says and hears on a line, as files for tests/captures/.

Each request with its answer and the values that were believed, one file for each model on the line: what a device did
once, its profile is held to from then on. Only looks; sirend goes on with its work. Ctrl-C ends it early and keeps
what there is.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.ctl import door

if TYPE_CHECKING:
    from firmware_bridge.capture import Tape

LONGEST_S = 3600


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bus", help="线路 / line id, as in status")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="秒 / seconds, default 10")
    parser.add_argument("--unit", type=int, metavar="N", help="只录一个单元 / only this unit address")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE",
                        help="文件 / the file; FILE-MODEL.toml for each of several models (default: GATEWAY-LINE)")
    parser.add_argument("--profiles", type=Path, metavar="DIR", help="档案目录 / profiles (default: the gateway's)")


def run(args: argparse.Namespace) -> int:
    """0: something was recorded. 1: nothing was, or not all of it. 2: bad arguments."""
    # Not at the top: what reads profiles takes a second to load on a gateway, and `sirenctl stop` must not wait for it.
    from firmware_bridge import capture, profile
    if not 0 < args.seconds <= LONGEST_S:
        raise ValueError(f"--seconds: 1 … {LONGEST_S}")
    said = door.hear(door.place(args.socket), "record", {"bus": args.bus}, args.seconds)
    begin = next(said, {"error": "没有回答 / no answer"})
    if "error" in begin:
        return _end(args, begin)
    units = _units(args, begin)
    files = _files(args, begin, sorted({device["profile"] for device in units.values()}))
    folder = args.profiles or Path(begin["profiles"])
    known = {model: profile.load(folder / f"{model}.toml") for model in files}
    if foreign := [model for model in known if known[model].spec.protocol != "modbus"]:
        return _end(args, {"error": f"{args.bus}: 不是 Modbus 线路 / {', '.join(foreign)} does not speak Modbus, and"
                                    " captures are of Modbus frames; see the frames with: sirenctl bus"})
    if args.json:
        print(json.dumps(begin, ensure_ascii=False), flush=True)
    else:
        print(f"录制 Recording {begin['bus']} of {begin['gateway']}, {args.seconds:g} s;"
              " Ctrl-C 提前结束 / ends it early", flush=True)
    tape = capture.Tape(tcp=begin["link"].startswith("tcp:"))
    why = _fill(tape, said)
    written = []
    for model, path in files.items():
        mine = {int(n): device["device"] for n, device in units.items() if device["profile"] == model}
        found = capture.proofs(known[model], (e for e in tape.exchanges if e.unit in mine))
        if found:
            where = ", ".join(f"{device} (unit {unit})" for unit, device in mine.items())
            source = f"{where} on {begin['bus']} ({begin['link']}) of {begin['gateway']}, recorded {begin['wall']}"
            path.write_text(capture.document(known[model], source, found), encoding="utf-8")
            written.append({"file": str(path), "profile": model, "exchanges": len(found)})
    if not written and not why:
        why = "没有可用的应答 / no answer that proves anything"
        why += "；线路断开 / the line is down" if begin["state"] == "down" else ""
    heard = {unit: device | {"answered": sum(e.unit == int(unit) for e in tape.exchanges),
                             "refused": tape.refused.get(int(unit), 0),
                             "unanswered": tape.unanswered.get(int(unit), 0)} for unit, device in units.items()}
    answer = {"gateway": begin["gateway"], "bus": begin["bus"], "units": heard, "files": written}
    return _end(args, answer | ({"error": why} if why else {}))


def _fill(tape: "Tape", said: Iterator[dict[str, Any]]) -> str:
    """Onto the tape what comes, until the time is over or somebody interrupts; what was lost, in words."""
    lost = ""
    try:
        for one in said:
            match one:
                case {"kind": "frame", "ours": True, "hex": str(octets)}:
                    tape.sent(bytes.fromhex(octets))
                case {"kind": "frame", "hex": str(octets)}:
                    tape.heard(bytes.fromhex(octets))
                case {"kind": "believed", "unit": int(unit), "values": dict(values)}:
                    tape.believed(unit, values)
    except KeyboardInterrupt:
        pass
    except door.NoGateway as error:
        lost = f"{error}；此后的帧没有录到 / what came after that is lost"
    if tape.dropped:
        lost = f"磁带已满 / the tape was full: {tape.dropped} exchanges are lost; record for a shorter time"
    return lost


def _units(args: argparse.Namespace, begin: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The units to be recorded, by address."""
    devices: dict[str, dict[str, str]] = begin["devices"]
    if args.unit is None:
        return devices
    if str(args.unit) not in devices:
        known = ", ".join(devices)
        raise ValueError(f"--unit {args.unit}: 本线路没有此单元 / this line has no such device; units: {known}")
    return {str(args.unit): devices[str(args.unit)]}


def _files(args: argparse.Namespace, begin: dict[str, Any], models: list[str]) -> dict[str, Path]:
    """Where each model's captures go; nothing that is there is written over."""
    if args.out is not None and len(models) == 1:
        files = {models[0]: args.out}
    else:
        stem = args.out.with_suffix("") if args.out else Path(f"{begin['gateway']}-{begin['bus']}")
        files = {model: stem.with_name(f"{stem.name}-{model}.toml") for model in models}
    for path in files.values():
        if path.exists():
            raise ValueError(f"{path}: 已存在 / is there already; name another with -o, or remove it")
        if not path.parent.is_dir():
            raise ValueError(f"{path.parent}: 没有此目录 / no such folder")
    return files


def _end(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    if args.json:
        print(json.dumps(answer | {"last": True}, ensure_ascii=False), flush=True)
    else:
        for unit, had in answer.get("units", {}).items():
            print(f"  {unit:>5}  {had['device']:<12} {had['profile']:<24} 应答 answered {had['answered']}"
                  f"  拒绝 refused {had['refused']}  无应答 unanswered {had['unanswered']}")
        for one in answer.get("files", ()):
            print(f"{one['file']}: {one['exchanges']} 个不同的应答 / different exchanges of {one['profile']}")
        if "error" in answer:
            print(answer["error"], file=sys.stderr)
    return 1 if "error" in answer else 0
