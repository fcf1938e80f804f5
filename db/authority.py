"""The installation's own certificate authority: a folder with its key, and what it signed for this machine.

The API and the controller show certificates of it, hosts get theirs from the API. It decides names, lifetimes and when
one is made anew. It refuses to know what is served with them. Keys are readable by their owner only.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from db.errors import Invalid

DEFAULT_FOLDER = "/var/lib/warren/tls"
OWN_LIFE = timedelta(days=3650)
LIFE = timedelta(days=397)
"""The longest that browsers accept."""
RENEW_BEFORE = timedelta(days=120)
CLOCKS = timedelta(hours=1)
"""How far another machine's clock may be behind."""


class Files(NamedTuple):
    certificate: Path
    key: Path


class Signed(NamedTuple):
    """A certificate and its key, in PEM, for another machine; it should ask for another at `renew_at`."""

    certificate: str
    key: str
    renew_at: datetime


class Authority:
    """Opens the folder, or makes it. Raises Invalid when that cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files(folder / "ca.pem", folder / "ca.key")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._turn():
                if not self.files.key.exists():
                    self._make()
            self._certificate = x509.load_pem_x509_certificate(self.files.certificate.read_bytes())
            self._key = serialization.load_pem_private_key(self.files.key.read_bytes(), None)
        except (OSError, ValueError) as fault:
            remedy = "name a folder that this user may write, or give certificates of your own"
            raise Invalid(f"the certificates in {folder} cannot be used: {fault}", remedy, "tls-dir") from fault

    @property
    def pem(self) -> str:
        return self.files.certificate.read_text()

    @property
    def pin(self) -> str:
        """What people compare: the SHA-256 of the certificate."""
        return "sha256:" + sha256(self._certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def for_this_machine(self, part: str, names: Iterable[str]) -> Files:
        """The files of `part`'s certificate for these names and addresses; made anew when one lacks, or it ends."""
        files = Files(self.folder / f"{part}.pem", self.folder / f"{part}.key")
        wanted = sorted(set(names))
        with self._turn():
            if not self._holds(files, wanted):
                signed = self.sign(wanted[0], wanted)
                _write(files.key, signed.key)
                _write(files.certificate, signed.certificate)
        return files

    def sign(self, name: str, others: Sequence[str] = ()) -> Signed:
        """For a server and a client; its file ends with the authority's, so that who has nothing else can look."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(name, key, now, LIFE).issuer_name(self._certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(one) for one in others]), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key())  # type: ignore[arg-type]
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())  # type: ignore[arg-type]
        return Signed(_pem(certificate) + self.pem, _key_pem(key), now + LIFE - RENEW_BEFORE)

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"Warren at {socket.gethostname()}"
        builder = self._builder(name[:64], key, datetime.now(UTC), OWN_LIFE)
        builder = builder.issuer_name(builder._subject_name)  # type: ignore[arg-type]
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
        )
        usage |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        _write(self.files.certificate, _pem(builder.sign(key, hashes.SHA256())))
        _write(self.files.key, _key_pem(key))

    def _builder(
        self, name: str, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        )
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - CLOCKS).not_valid_after(now + life)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)

    def _holds(self, files: Files, names: Sequence[str]) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            certificate.verify_directly_issued_by(self._certificate)
            key = serialization.load_pem_private_key(files.key.read_bytes(), None)
            there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # whatever is wrong with them: another is made
            return False
        fresh = certificate.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)
        return fresh and key.public_key() == certificate.public_key() and {_general(one) for one in names} <= {*there}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The API and the controller may start at the same moment."""
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def own_names(binds: Iterable[str]) -> set[str]:
    """What clients may call this machine: its names, the addresses that it listens at and those it speaks from."""
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}
    for bind in binds:
        host = bind.rpartition(":")[0].strip("[]")
        with suppress(ValueError):
            if not ipaddress.ip_address(host).is_unspecified:
                names.add(host)
    # Nothing is sent to find out.
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            names.add(str(probe.getsockname()[0]))
    return {name for name in names if name}


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(path.suffix + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
