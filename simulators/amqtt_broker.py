"""A broker in pure Python for demos where mosquitto is not installed: `python -m simulators.amqtt_broker PORT`.

amqtt speaks MQTT 3.1.1 only and keeps nothing over a restart: enough to show, not to warn a city with.
"""

import asyncio
import logging
import sys

from amqtt.broker import Broker


async def _serve(port: int) -> None:
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    })
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(int(sys.argv[1])))
