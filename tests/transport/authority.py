"""Throw-away certificate authorities, and mosquitto as configs/mosquitto.conf sets it up with them."""

import contextlib
import datetime
import ipaddress
import signal
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulators.city import free_port, mosquitto

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MOSQUITTO = mosquitto()
DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Authority:
    """A CA of its own in `folder`: `{name}-ca.pem`, `{name}-crl.pem`, and `.pem` and `.key` of all that it issues."""

    def __init__(self, folder: Path, name: str = "gateways") -> None:
        self.folder = folder
        self.name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {name}")])
        self._issued: dict[str, x509.Certificate] = {}
        cert = (
            x509.CertificateBuilder().subject_name(self._subject).issuer_name(self._subject)
            .public_key(self._key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now() - 30 * DAY).not_valid_after(now() + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}-ca.pem"
        self.file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        self.revoke()

    def issue(self, common_name: str, file: str = "", host: str = "", begins: datetime.timedelta = -DAY,
              ends: datetime.timedelta = DAY) -> str:
        """A certificate for `common_name`; for a broker with `host`, name or address. Answers with the file's stem."""
        file = file or common_name
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if host else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self._subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now() + begins).not_valid_after(now() + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if host:
            try:
                name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                name = x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        self._issued[file] = cert
        (self.folder / f"{file}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        private = self.folder / f"{file}.key"
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()))
        private.chmod(0o600)
        return file

    def revoke(self, *files: str, ends: datetime.timedelta = 30 * DAY) -> None:
        """The revocation list, with exactly these certificates on it."""
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self._subject)
                   .last_update(now() - DAY).next_update(now() + ends))
        for file in files:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(self._issued[file].serial_number)
                .revocation_date(now()).build())
        crl = builder.sign(self._key, hashes.SHA256())
        (self.folder / f"{self.name}-crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))


class Broker:
    """mosquitto as `configs/mosquitto.conf` sets it up, on free ports of 127.0.0.1, with what lies in `folder`.

    The certificate authorities are `gateways` and `centre`; the broker's own certificate is `broker`.
    """

    def __init__(self, folder: Path, acl: str) -> None:
        self.folder = folder
        self.acl = folder / "siren.acl"
        self.port = free_port()
        self.centre_port = free_port()
        self.write_acl(acl)
        self.process: subprocess.Popen[bytes] | None = None

    def write_acl(self, text: str) -> None:
        self.acl.write_text(text)
        self.acl.chmod(0o600)

    def start(self) -> None:
        text = (CONFIGS / "mosquitto.conf").read_text()
        for old, new in (("/etc/mosquitto/certs", str(self.folder)), ("/etc/mosquitto", str(self.folder)),
                         ("/var/lib/mosquitto", str(self.folder)), ("listener 8883", f"listener {self.port} 127.0.0.1"),
                         ("listener 8884", f"listener {self.centre_port} 127.0.0.1")):
            assert old in text
            text = text.replace(old, new)
        conf = self.folder / "mosquitto.conf"
        conf.write_text(f"user root\nlog_dest file {self.folder}/broker.log\nlog_type all\n{text}")
        assert MOSQUITTO
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(conf)], stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            assert self.process.poll() is None, self.said()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.centre_port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("the broker does not listen")

    def reload(self) -> None:
        """What `systemctl reload mosquitto` does."""
        assert self.process
        self.process.send_signal(signal.SIGHUP)

    def said(self) -> str:
        log = self.folder / "broker.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
