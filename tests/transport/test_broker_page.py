"""The commands of docs/broker.md make certificates that work, and what the page says of ports and names is so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub import __main__ as command
from simulators.city import free_port
from tests.transport.authority import CONFIGS, MOSQUITTO

PAGE = (CONFIGS.parent / "docs/broker.md").read_text()
SCRIPTS = re.findall(r"(?ms)^```sh\n(.*?)^```", PAGE)


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: the commands were NOT tried")
def test_the_commands_make_an_authority_that_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = SCRIPTS
    run(tmp_path, "bash", "-e", "-c", script)
    made = tmp_path / "gateways"
    check = ["openssl", "verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "ca.pem"]
    run(made, *check, "-purpose", "sslclient", "gw-0105-001.pem")
    run(made, *check, "-purpose", "sslserver", "-verify_hostname", "hub.example", "broker.pem")
    # As the centre would be set up with them: the file of the page is right, but for the person's name.
    assert command.main(["check", "--config", str(CONFIGS / "demo/hub.toml"), "--set", "mqtt.tls=true", *(
        part for key, file in (("ca_file", "ca.pem"), ("cert_file", "gw-0105-001.pem"), ("key_file", "gw-0105-001.key"))
        for part in ("--set", f"mqtt.{key}={made / file}"))]) == 0, capsys.readouterr().err
    run(made, "openssl", "ca", "-config", "openssl.cnf", "-revoke", "gw-0105-001.pem")
    run(made, "openssl", "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
    done = subprocess.run([*check, "gw-0105-001.pem"], cwd=made, capture_output=True, text=True)
    assert "certificate revoked" in done.stderr + done.stdout
    run(made, *check, "broker.pem")


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("mosquitto_pub") and MOSQUITTO),
                    reason="openssl or mosquitto is not installed: the commands were NOT tried")
def test_a_gateway_that_speaks_in_anothers_name_is_refused_as_the_page_says(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    script = "\n".join(SCRIPTS)
    # The first script ends in the folder of the authority.
    script = script.replace("mkdir centre", "cd .. && mkdir centre", 1).replace("-p 8883", f"-p {ports[0]}")
    named = "".join(f"; s#listener {old}#listener {new}#" for old, new in zip((8883, 8884), ports, strict=True))
    script = script.replace(r"listener \1 127.0.0.1#", rf"listener \1 127.0.0.1#{named}")
    # Only who is root must say that mosquitto may stay it, or it could not read what is here.
    script = script.replace("mosquitto -c", "echo user root >> desk/mosquitto.conf; mosquitto -c", 1)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    done = subprocess.run(["bash", "-m", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                          env={**os.environ, "SIREN": str(CONFIGS.parent), "PATH": path})
    said = done.stdout
    assert "Received PUBLISH from gw-0105-001" in said, said + done.stderr
    assert "/001/gw-0105-001/status" in said
    (denied,) = re.findall("Denied PUBLISH.*", said)
    assert "gw-0105-002" in denied
    assert "Not authorized" in done.stderr


def test_as_many_receipts_wait_for_a_hub_as_the_page_says() -> None:
    limits = dict(re.findall(r"(?m)^(max_queued_\w+) (\d+)$", (CONFIGS / "mosquitto.conf").read_text()))
    (told,) = re.findall(r"wait here for a hub that is away: ([\d,]+) of them", PAGE)
    promised = int(told.replace(",", ""))
    (receipt,) = re.findall(r"(?ms)^```json receipt\n(.*?)^```", (CONFIGS.parent / "docs/mqtt.md").read_text())
    assert int(limits["max_queued_messages"]) >= promised
    assert int(limits["max_queued_bytes"]) >= promised * len(receipt.encode())


def test_the_page_names_the_ports_and_the_authorities_of_the_configuration() -> None:
    text = (CONFIGS / "mosquitto.conf").read_text()
    assert re.findall(r"(?m)^\| (\d+) \|", PAGE) == re.findall(r"(?m)^listener (\d+)$", text)
    assert set(re.findall(r"`(\w+-ca)`", PAGE)) == set(re.findall(r"(\w+-ca)\.pem", text))
