"""`siren-hub run`: the resident hub. Takes signed orders, sends and re-sends them, and writes down what it sees.

It opens no private key; `[operator]` of its file is not for it.
"""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from controller import wire
from hub import floodbook, heads
from hub.config import Config
from hub.event import Note
from hub.shell import Shell
from hub.spots import of_spot

HEADS_S = 60.0
"""How often what gateways say of their journals is written down; what is newer is lost with our own end at worst."""

FLOODS_S = 5.0
"""How often events of floods are: a flood is looked at while it is on."""


def run(config: Config) -> int:
    """Until SIGTERM or SIGINT."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, sort_keys=False, pad_event=24),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    log = structlog.get_logger()

    def on_note(note: Note) -> None:
        said = {"gateway": note.gateway, "subject": note.subject, "detail": note.detail}
        (log.warning if note.urgent else log.info)(note.what, **{k: v for k, v in said.items() if v})
        sys.stdout.flush()

    async def until_told() -> None:
        shell = Shell(config, f"hub-{config.spec.hub.id}", sends=True, takes=True, on_note=on_note)
        working = asyncio.current_task()
        assert working is not None
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, working.cancel)
        heads_file = config.spec.audit and config.path(config.spec.audit.heads)
        floods_file = config.spec.flood and config.path(config.spec.flood.events)
        keeping = [asyncio.create_task(keep(shell, path, on_note)) for keep, path in
                   ((_keep_heads, heads_file), (_keep_floods, floods_file)) if path]
        on_note(Note("hub-started", subject=config.spec.hub.id, detail=f"broker {shell.connection.place}"))
        try:
            await shell.run()
        except asyncio.CancelledError:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            on_note(Note("hub-ended", subject=config.spec.hub.id))

    asyncio.run(until_told())
    return 0


async def _keep_heads(shell: Shell, path: Path, on_note: Callable[[Note], None]) -> None:
    """Write down the journal heads that were told, each minute and at the end."""
    going_on = True
    while going_on:
        try:
            await asyncio.sleep(HEADS_S)
        except asyncio.CancelledError:
            going_on = False
        told = [(g.id, g.head.n, g.head.hash) for g in shell.centre.fleet.gateways.values()
                if g.head is not None and g.identity.pair is None]
        try:
            await asyncio.to_thread(heads.remember, path, wire.to_text(shell.wall_us()), told)
        except (sqlite3.Error, OSError) as error:
            on_note(Note("heads-not-kept", subject=str(path), detail=str(error), urgent=True))


async def _keep_floods(shell: Shell, path: Path, on_note: Callable[[Note], None]) -> None:
    """Write down the events of spots as they come, and once more at the end."""
    going_on, last = True, None
    while going_on:
        try:
            await asyncio.sleep(FLOODS_S)
        except asyncio.CancelledError:
            going_on = False
        fleet = shell.centre.fleet
        told = [h for h in fleet.events if of_spot(fleet, h.gateway, h.event)]
        if not told or told[-1] is last:
            continue
        try:
            await asyncio.to_thread(floodbook.remember, path, told)
            last = told[-1]
        except (sqlite3.Error, OSError) as error:
            on_note(Note("floods-not-kept", subject=str(path), detail=str(error), urgent=True))
