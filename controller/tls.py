"""TLS to the broker: the context of one connection, and in words why the other end, or we, would not have it (shell).

TLS 1.2 or newer; the broker must show a certificate of our CA that names the host we called. With TLS 1.3 a broker
refuses a client's certificate only after the handshake, where paho loses the reason: so the socket keeps it.
The password is the other thing that a connection takes from a file. It refuses to know MQTT.
"""

import contextlib
import errno
import ssl
from pathlib import Path
from typing import Any

from controller import broker
from controller.broker import MqttSection
from firmware_bridge.errors import Problem

NOT_YET, ENDED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64
"""What OpenSSL finds wrong with the other's certificate (X509_V_ERR_...)."""


_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""No failures: TLS is to be asked again when the socket is ready."""


class Context(ssl.SSLContext):
    """A context that remembers why its connection was refused."""

    refusal: ssl.SSLError | None = None


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except _WAITS:
            raise
        except OSError:
            # The broker has hung up before it had our CONNECT: what it said at last may still be unread.
            with contextlib.suppress(OSError):
                self.recv(1)
            raise

    def _note(self, error: ssl.SSLError) -> None:
        if isinstance(self.context, Context) and not isinstance(error, _WAITS):
            self.context.refusal = error


def context(section: MqttSection, folder: Path) -> Context | None:
    """For one connection; None: the section says no TLS. OSError (ssl.SSLError is one) when a file is no good."""
    if not section.tls:
        return None
    out = Context(ssl.PROTOCOL_TLS_CLIENT)
    out.minimum_version = ssl.TLSVersion.TLSv1_2
    out.sslsocket_class = _Socket
    if section.ca_file is None:
        out.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        out.load_verify_locations(folder / section.ca_file)
    if section.cert_file is not None:
        # An empty passphrase: without one OpenSSL would ask at a terminal, and wait.
        out.load_cert_chain(folder / section.cert_file, folder / section.key_file if section.key_file else None, "")
    return out


def password(section: MqttSection, folder: Path) -> str | None:
    """For one connection; None: the section names none. OSError when the file is no good."""
    if section.password_file is None:
        return None
    file = folder / section.password_file
    try:
        return broker.password(file.read_bytes())
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(file)) from None


def unusable(section: MqttSection, folder: Path, error: OSError) -> str:
    """Why there is no context, or no password, in words. `sirend check` and `siren-hub check` say it better."""
    return f"a file of [mqtt] is no good: {error.filename or 'ca_file, cert_file or key_file'}:" \
           f" {error.strerror or error}; see what `check` says (files are looked for in {folder})"


def refused(section: MqttSection, folder: Path, used: Context | None) -> str:
    """Why TLS did not come about, in the words of a Problem; empty when it was not TLS that failed."""
    error = used.refusal if used else None
    if error is None:
        return ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(_theirs(section, folder, error))
    return str(_ours(section, folder, error))


def _theirs(section: MqttSection, folder: Path, error: ssl.SSLCertVerificationError) -> Problem:
    """We do not believe the broker."""
    said, code = error.verify_message, error.verify_code
    if code in (OTHER_HOST, OTHER_ADDRESS):
        remedy = f"the broker's certificate is for another name ({said}): say the name that stands in it"
    elif code == ENDED:
        remedy = "the broker's certificate has ended: renew it at the broker (or the clock here is wrong)"
    elif code == NOT_YET:
        remedy = "the broker's certificate is not valid yet: the clock here is wrong, set it"
    else:
        file = "the system's authorities" if section.ca_file is None else str(folder / section.ca_file)
        return Problem(file, "mqtt.ca_file", section.ca_file,
                       f"did not issue the broker's certificate ({said}): put the certificate of its CA there")
    return Problem("[mqtt]", "mqtt.host", section.host, remedy)


_ALERTS = {
    "CERTIFICATE_EXPIRED": ("has ended: have a new one issued"
                            " (if it has not, the broker's revocation list has, or its clock is wrong)"),
    "CERTIFICATE_REVOKED": "is revoked: have a new one issued, if this is no clone",
    "UNKNOWN_CA": "is not of a CA that the broker trusts: have it issued by the broker's (cafile)",
    "BAD_CERTIFICATE": "is refused by the broker: have a new one issued",
    "CERTIFICATE_REQUIRED": "is missing: the broker wants one; name cert_file and key_file",
}
"""The end of OpenSSL's reason -> what became of our certificate."""


def _ours(section: MqttSection, folder: Path, error: ssl.SSLError) -> Problem:
    """The broker does not believe us, or there is no TLS at the other end."""
    reason = error.reason or str(error)
    for end, remedy in _ALERTS.items():
        if reason.endswith(end) or (end == "CERTIFICATE_REQUIRED" and section.cert_file is None
                                    and reason.endswith("HANDSHAKE_FAILURE")):
            file = "[mqtt]" if section.cert_file is None else str(folder / section.cert_file)
            return Problem(file, "mqtt.cert_file", section.cert_file, f"{remedy} [{reason}]")
    return Problem("[mqtt]", "mqtt.port", section.port, f"no TLS came about [{reason}]: name the broker's port for TLS")
