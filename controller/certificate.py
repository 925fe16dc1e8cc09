"""The files that `[mqtt]` names: the certificate that vouches for the broker, our own, its key, a password.

What is wrong with them is told before anything starts, each with file, key, value and remedy. It refuses to know
whether they must be good for a start (the caller decides) and what time it is (the caller says). X.509 takes 2 MiB, so
a gateway whose section names no file does not load this one.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from controller.broker import MqttSection, password
from firmware_bridge.errors import Problem

OPEN = 0o027
"""Permissions a secret may not have: others anything, its group more than reading (root:siren 0640 is right)."""
MAX_FILE_BYTES = 1024 * 1024
"""Of a PEM file: a bundle of all public CAs has a quarter of it."""


def wrong_files(section: MqttSection, folder: Path, file: str, now: datetime.datetime,
                identity: str | None = None) -> list[Problem]:
    """What is wrong with the files of the section. `identity` is whose name the certificate must bear."""
    return list(_wrong_files(section, folder, file, now, identity))


def _wrong_files(section: MqttSection, folder: Path, file: str, now: datetime.datetime,
                 identity: str | None) -> Iterator[Problem]:
    if section.password_file is not None:
        yield from _secret(file, "mqtt.password_file", section.password_file, folder)
        yield from _password(file, section.password_file, folder)
    if not section.tls:
        return
    if section.ca_file is not None:
        yield from _authority(file, section.ca_file, folder, now)
    if section.cert_file is None:
        return
    found = _read(folder / section.cert_file)
    if isinstance(found, str):
        yield Problem(file, "mqtt.cert_file", section.cert_file, f"{found}; put our certificate there (PEM)")
    else:
        try:
            certificate = x509.load_pem_x509_certificates(found)[0]
        except ValueError:
            yield Problem(file, "mqtt.cert_file", section.cert_file, "is no certificate; put our own there (PEM)")
        else:
            yield from _certificate(file, section.cert_file, certificate, now, identity)
            yield from _key(file, section, certificate, folder)
            return
    if section.key_file is not None:
        yield from _secret(file, "mqtt.key_file", section.key_file, folder)


def _authority(file: str, value: str, folder: Path, now: datetime.datetime) -> Iterator[Problem]:
    found = _read(folder / value)
    if isinstance(found, str):
        yield Problem(file, "mqtt.ca_file", value, f"{found}; put the certificate of the broker's CA there (PEM)")
        return
    try:
        authorities = x509.load_pem_x509_certificates(found)
    except ValueError:
        yield Problem(file, "mqtt.ca_file", value, "is no certificate; put that of the broker's CA there (PEM)")
        return
    if all(a.not_valid_after_utc < now for a in authorities):
        yield Problem(file, "mqtt.ca_file", value, f"ended on {authorities[0].not_valid_after_utc:%Y-%m-%d};"
                                                   " put the certificate of the broker's present CA there")


def _certificate(file: str, value: str, certificate: x509.Certificate, now: datetime.datetime,
                 identity: str | None) -> Iterator[Problem]:
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if ends < now:
        yield Problem(file, "mqtt.cert_file", value, f"ended on {ends:%Y-%m-%d}; have a new one issued")
    if begins > now:
        yield Problem(file, "mqtt.cert_file", value, f"begins only on {begins:%Y-%m-%d}, and it is {now:%Y-%m-%d} here;"
                                                     " set the clock, or wait")
    name = common_name(certificate)
    if identity is not None and name != identity:
        yield Problem(file, "mqtt.cert_file", value, f"is the certificate of {name or 'nobody'}, and we are {identity};"
                                                     " put our own there")


def _key(file: str, section: MqttSection, certificate: x509.Certificate, folder: Path) -> Iterator[Problem]:
    """The private key: there, closed to others, and that of the certificate."""
    key = "mqtt.key_file" if section.key_file is not None else "mqtt.cert_file"
    value = section.key_file or section.cert_file or ""
    wrong = list(_secret(file, key, value, folder))
    yield from wrong
    found = _read(folder / value)
    if isinstance(found, str):
        return
    try:
        own = load_pem_private_key(found, None)
    except TypeError:
        yield Problem(file, key, value, "has a passphrase, which nobody would type at a start; store it without")
    except ValueError:
        yield Problem(file, key, value, "is no private key; put that of cert_file there (PEM)")
    else:
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if own.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
            yield Problem(file, key, value, "is not the key of cert_file; put the two of one pair there")


def _secret(file: str, key: str, value: str, folder: Path) -> Iterator[Problem]:
    """A file that nobody else may read is there, and nobody else may."""
    path = folder / value
    found = _read(path)
    if isinstance(found, str):
        yield Problem(file, key, value, f"{found}; put it there, or mend the path")
    elif (mode := path.stat().st_mode & 0o777) & OPEN:
        yield Problem(file, key, value, f"is open to others ({mode:04o}): chmod 0640 {path.resolve()}")


def _password(file: str, value: str, folder: Path) -> Iterator[Problem]:
    found = _read(folder / value)
    if isinstance(found, bytes):
        try:
            password(found)
        except ValueError as error:
            yield Problem(file, "mqtt.password_file", value, str(error))


def _read(path: Path) -> bytes | str:
    """Its content, or in words why not."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return f"{path} is far too large"
        return path.read_bytes()
    except FileNotFoundError:
        return f"there is no {path}"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


def common_name(certificate: x509.Certificate) -> str:
    """Whom a certificate names; nobody where it has no common name, or two."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
