"""The bus: how much of a 9600-baud line it uses, and Modbus TCP against pymodbus's client. See its two parts."""

import asyncio

from bench import bus_rtu, bus_tcp, measure


def main() -> None:
    rtu = bus_rtu.run()
    tcp = asyncio.run(bus_tcp.run())
    measure.report({"rtu": rtu, "tcp": tcp}, {
        "rtu used >= 0.95": float(str(rtu["used"])) >= 0.95,
        "tcp ratio >= 1.5": float(str(tcp["ratio"])) >= 1.5,
    })


if __name__ == "__main__":
    main()
