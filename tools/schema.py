"""Writes the JSON Schemas of the documents people write: `python3 tools/dev.py schema`.

An editor that knows TOML (taplo, VS Code) shows them as help and marks mistakes while one types: the first line of
each document names its schema. The models are the truth; a test holds the files in `docs/schema/` to them.
"""

import json
from pathlib import Path
from typing import Any

from controller import signal
from controller.config import GatewayFile
from controller.scale import ScaleFile
from firmware_bridge import profile
from hub.acl import FleetFile
from hub.config import HubFile
from simulators.site import SiteFile

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schema"


def texts() -> dict[str, str]:
    """The text of every schema file, by its name."""
    schemas = {
        "profile": (profile.schema(), "Profile: one model of device"),
        "signals": (signal.schema(), "Signals and programmes of one place"),
        "gateway": (GatewayFile.model_json_schema(by_alias=True), "One gateway: its buses, devices and sirens"),
        "scale": (ScaleFile.model_json_schema(by_alias=True), "The warning colours of one low-lying place"),
        "hub": (HubFile.model_json_schema(by_alias=True), "One centre: its broker, signals and trust list"),
        "fleet": (FleetFile.model_json_schema(by_alias=True), "Who may come to the broker"),
        "site": (SiteFile.model_json_schema(by_alias=True), "What stands in the field, for siren-sim to play"),
    }
    return {f"{name}.schema.json": _text(schema, title) for name, (schema, title) in schemas.items()}


def _text(schema: dict[str, Any], title: str) -> str:
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/schema/{name}")


if __name__ == "__main__":
    main()
