"""What every test of TLS sets: the demo, and where a gateway or hub finds its files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "configs/demo"

SECTION = {"host": "127.0.0.1", "tls": True, "ca_file": "gateways-ca.pem", "cert_file": "gw-1.pem",
           "key_file": "gw-1.key"}


def tls_settings(folder: Path, name: str) -> list[str]:
    return ["mqtt.tls=true", f"mqtt.ca_file={folder}/gateways-ca.pem", f"mqtt.cert_file={folder}/{name}.pem",
            f"mqtt.key_file={folder}/{name}.key"]
