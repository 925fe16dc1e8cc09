"""`siren-hub watch` and `siren-hub fleet`: what there is and what happens, for whoever looks."""

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict

from hub import screen
from hub.client import Client, Unreachable
from hub.config import Config
from hub.draft import COMMAND
from hub.event import Note


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    watch = verbs.add_parser("watch", parents=[common], help="实时查看 / what happens, a line each")
    fleet = verbs.add_parser("fleet", parents=[common], help="网关与警报器一览 / gateways and sirens, as far as known")
    for parser, default, what in ((watch, None, "只看若干秒 / only so long"), (fleet, 0.0, "先听几秒 / listen first")):
        parser.add_argument("--for", dest="seconds", type=float, default=default, metavar="SECONDS", help=what)
        parser.add_argument("--json", action="store_true", help="JSON")
    watch.set_defaults(run=lambda args, config: _guarded(_watch(args, config)))
    fleet.set_defaults(run=lambda args, config: _guarded(_fleet(args, config)))


def _guarded(work: Coroutine[None, None, int]) -> int:
    try:
        return asyncio.run(work)
    except Unreachable as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


async def _watch(args: argparse.Namespace, config: Config) -> int:
    def told(note: Note) -> None:
        print(json.dumps(asdict(note), ensure_ascii=False) if args.json else screen.note(note), flush=True)

    async with Client(config, told) as client:
        await client.wait(args.seconds)
    return 0


async def _fleet(args: argparse.Namespace, config: Config) -> int:
    async with Client(config) as client:
        await client.wait(args.seconds)
        if args.json:
            print(json.dumps(client.fleet.as_json(), ensure_ascii=False))
        else:
            screen.print_lines(screen.roster(client.fleet))
    return 0
