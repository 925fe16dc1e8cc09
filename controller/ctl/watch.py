"""持续显示 / show what happens as it happens: stages of orders, notices, states. Ctrl-C ends it."""

import argparse
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "watch", {}


def failed(last: dict[str, Any]) -> bool:
    return False


def show(answer: dict[str, Any]) -> None:
    match answer["kind"]:
        case "progress":
            text = f"{answer['siren']}  {answer['stage']}  {answer.get('reason', '')}  [{answer['mode']}]"
        case "notice":
            mark = "!! " if answer.get("urgent") else ""
            text = f"{mark}{answer['what']}  {answer.get('subject', '')}  {answer.get('detail', '')}"
        case _:
            text = f"{answer['id']}  {answer['state']}  {answer.get('why', '')}"
    print(f"{answer['kind']:<9} {text}", flush=True)
