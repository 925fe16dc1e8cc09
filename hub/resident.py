"""`siren-hub run`: the resident hub. Takes signed orders, sends and re-sends them, and writes down what it sees.

It opens no private key; `[operator]` of its file is not for it.
"""

import asyncio
import signal
import sys

import structlog

from hub.config import Config
from hub.event import Note
from hub.shell import Shell


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
        on_note(Note("hub-started", subject=config.spec.hub.id, detail=f"broker {shell.connection.place}"))
        try:
            await shell.run()
        except asyncio.CancelledError:
            on_note(Note("hub-ended", subject=config.spec.hub.id))

    asyncio.run(until_told())
    return 0
