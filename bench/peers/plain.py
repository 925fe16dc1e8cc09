"""The straightforward gateway: pymodbus and aiomqtt as their documentation shows them, and nothing more.

One task a unit reads its eight registers each second; orders come on `plain/UNIT/set`. pymodbus lets one request at a
time onto the line, in the order of asking. Run by the venv that `setup.sh` makes.
"""

import argparse
import asyncio
import json

import aiomqtt
from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient

REGISTERS, EVERY_S = 8, 1.0


async def poll(modbus: AsyncModbusSerialClient, mqtt: aiomqtt.Client, unit: int) -> None:
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        try:
            answer = await modbus.read_holding_registers(0, count=REGISTERS, device_id=unit)
            if not answer.isError():
                await mqtt.publish(f"plain/{unit}/words", json.dumps(answer.registers))
        except ModbusException as error:
            print(f"unit {unit}: {error}", flush=True)
        # What is already overdue is left out, not made up for.
        due = max(due + EVERY_S, clock())
        await asyncio.sleep(due - clock())


async def obey(modbus: AsyncModbusSerialClient, mqtt: aiomqtt.Client) -> None:
    async for message in mqtt.messages:
        assert isinstance(message.payload, bytes)
        unit, order = int(message.topic.value.split("/")[1]), json.loads(message.payload)
        try:
            await modbus.write_register(order["address"], order["value"], device_id=unit)
        except ModbusException as error:
            print(f"unit {unit}: {error}", flush=True)


async def run(options: argparse.Namespace) -> None:
    modbus = AsyncModbusSerialClient(options.line, baudrate=9600, timeout=options.timeout, retries=0)
    if not await modbus.connect():
        raise SystemExit(f"cannot open {options.line}")
    async with aiomqtt.Client("127.0.0.1", options.port) as mqtt, asyncio.TaskGroup() as tasks:
        await mqtt.subscribe("plain/+/set", qos=1)
        tasks.create_task(obey(modbus, mqtt))
        for unit in options.units:
            tasks.create_task(poll(modbus, mqtt, unit))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("line")
    parser.add_argument("port", type=int)
    parser.add_argument("timeout", type=float)
    parser.add_argument("units", type=int, nargs="+")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
