"""`[mqtt]`: where the broker is and with which files it is met. One section for gateway.toml and hub.toml alike.

`contradictions` are what is wrong with the words, told before anything starts, each with file, key, value and remedy.
It refuses to know what is in the files that are named (`certificate.py`) and how a connection is made (`tls.py`,
`mqtt.py`).
"""

import ipaddress
from typing import Annotated

from pydantic import Field

from firmware_bridge.document import Document
from firmware_bridge.errors import Problem

PASSWORD_LIMIT = 65_535
"""Bytes of a password: MQTT tells its length in two octets."""


class MqttSection(Document):
    host: str
    """Name or address of the broker. With `tls` it must stand in the broker's certificate."""
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    """Only without client certificates: with them the broker takes the certificate's name."""
    password_file: str | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=120)] = 20
    tls: bool = False
    """TLS 1.2 or newer; the broker's certificate and its name are always checked. Without it only to this machine."""
    ca_file: str | None = None
    """Who vouches for the broker (PEM). Left out: the system's authorities."""
    cert_file: str | None = None
    """Our own certificate (PEM); its common name is who we are to the broker: the gateway's id."""
    key_file: str | None = None
    """The private key of `cert_file`, without a passphrase; left out when it stands in the same file."""


def contradictions(section: MqttSection, file: str) -> list[Problem]:
    """What of the section does not fit together. A file that is named and not used is a false comfort."""
    out = []
    if not _is_name(section.host):
        remedy = "is no name that a network knows: between its dots are 1 to 63 letters; mend it, or name its address"
        out.append(Problem(file, "mqtt.host", section.host, remedy))
    if not section.tls and not _is_here(section.host):
        remedy = (f"plain text goes nowhere but to this machine, and {section.host} is another;"
                  " say tls = true, with certificates (docs/broker.md)")
        out.append(Problem(file, "mqtt.tls", False, remedy))
    for key in ("ca_file", "cert_file", "key_file"):
        value = getattr(section, key)
        if value is not None and not section.tls:
            out.append(Problem(file, f"mqtt.{key}", value, "is not used without TLS; say tls = true"))
    if section.key_file is not None and section.cert_file is None:
        out.append(Problem(file, "mqtt.key_file", section.key_file, "is a key without its certificate; name cert_file"))
    return out


def password(raw: bytes) -> str:
    """What a password file says. ValueError tells in words why that is no password."""
    try:
        said = raw.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8; write it anew") from None
    if len(said.encode()) > PASSWORD_LIMIT:
        raise ValueError(f"is longer than the {PASSWORD_LIMIT} bytes that MQTT takes; is it the right file?")
    return said


def _is_name(host: str) -> bool:
    """Whether a resolver can be asked for it at all: it would raise what is no OSError."""
    try:
        return host.encode("idna") != b""
    except UnicodeError:
        return False


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
