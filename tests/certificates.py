"""Certificates of the tests' own: an authority, and servers that it knows or does not know."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Authority:
    """Signs what it is asked to."""

    def __init__(self, folder: Path, parent: Authority | None = None) -> None:
        """A root, or one that a `parent` signed."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("an authority of the tests" if parent is None else "an authority in between")
        signer = parent or self
        self._own = (
            _builder(self._name, signer._name, self._key, FAR_AHEAD)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer._key.public_key()), critical=False
            )
            .sign(signer._key, hashes.SHA256())
        )
        self._between = parent is not None

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._own.public_bytes(serialization.Encoding.PEM)

    def trusting(self) -> ssl.SSLContext:
        """What a client uses that trusts this authority alone."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(cadata=self.pem.decode())
        return made

    def server(
        self,
        name: str,
        *,
        expired: bool = False,
        days: int | None = None,
        complete: bool = True,
        by_itself: bool = False,
    ) -> ssl.SSLContext:
        """What a server of this name uses: for so many `days` from now on, else for long.

        It sends the authority's own certificate too, if that is one in between and the chain is to be `complete`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        until = LONG_AGO + timedelta(days=1) if expired else FAR_AHEAD
        if days is not None:
            until = datetime.now(UTC) + timedelta(days=days)
        issuer, signer = (_name(name), key) if by_itself else (self._name, self._key)
        certificate = (
            _builder(_name(name), issuer, key, until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )
        path = self._folder / f"{name}.{token_hex(4)}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
            + (self.pem if self._between and complete and not by_itself else b"")
        )
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(path)
        return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(LONG_AGO)
        .not_valid_after(until)
    )
