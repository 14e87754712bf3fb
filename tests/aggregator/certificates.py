"""An authority and a certificate that it has given to this machine, valid for a day."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Files in PEM."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, object]:
        return {"certificate": self.certificate, "key": self.key}


def issue(folder: Path, *, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Issued:
    """Made anew in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sums")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name)) for name in addresses])
    issuer = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    files = {
        "authority.pem": _draft(authority, authority, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(issuer, critical=False)
        .add_extension(_SIGNS, critical=True)
        .sign(authority_key, hashes.SHA256())
        .public_bytes(Encoding.PEM),
        "certificate.pem": _draft(subject, authority, key)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
        .public_bytes(Encoding.PEM),
        "key.pem": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return Issued(**{name.removesuffix(".pem"): folder / name for name in files})


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=12))
        .not_valid_after(now + timedelta(hours=12))
    )
