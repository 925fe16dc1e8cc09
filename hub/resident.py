"""`siren-hub run`: the resident hub. Takes signed orders, sends and re-sends them, and writes down what it sees.

It opens no private key; `[operator]` of its file is not for it.
"""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from controller import wire
from hub import heads
from hub.config import Config
from hub.event import Note
from hub.shell import Shell

HEADS_S = 60.0
"""How often what gateways say of their journals is written down; what is newer is lost with our own end at worst."""


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
        kept = config.spec.audit and config.path(config.spec.audit.heads)
        keeping = asyncio.create_task(_keep_heads(shell, kept, on_note)) if kept else None
        on_note(Note("hub-started", subject=config.spec.hub.id, detail=f"broker {shell.connection.place}"))
        try:
            await shell.run()
        except asyncio.CancelledError:
            if keeping is not None:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping
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
