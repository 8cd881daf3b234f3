"""Certificates for tests: a CA in memory, and what it signs in files, with whatever is wrong with them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atm.config import TlsFiles, load
from atm.local_cluster import write_cluster_ini
from atm.tls.credentials import Credentials

DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Authority:
    """A CA; its own certificate is `pem`."""

    def __init__(self, name: str = "bank") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (
            self._begun(self._name, self._key, -DAY, 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(self._key_id, critical=False)
            .sign(self._key, SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)

    def write(self, path: Path, *others: Authority) -> Path:
        """Write the file of this CA, and of `others`."""
        path.write_bytes(b"".join(each.pem for each in (self, *others)))
        return path

    def issue(
        self,
        folder: Path,
        name: str,
        *uris: str,
        uses: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = 30 * DAY,
    ) -> tuple[Path, Path]:
        """Write a certificate with these URIs and its key; return both files. Times are from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            self._begun(subject, key, begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(uses)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id), critical=False
            )
        )
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        cert_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
        key_path.touch(mode=0o600)
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        cert_path.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        return cert_path, key_path

    def node(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write the certificate and key of a server."""
        return self.issue(folder, name, f"atm:node/{name}")

    def person(self, folder: Path, name: str, *roles: str) -> tuple[Path, Path]:
        """Write the certificate and key of a client with these roles."""
        return self.issue(folder, name, *(f"atm:{role}/{name}" for role in roles), uses=[CLIENT])

    def credentials(self, folder: Path, cert_and_key: tuple[Path, Path], node: str = "") -> Credentials:
        """Return them as the server `node` or as a client has them, who trusts this CA."""
        ca = folder / "ca.pem"
        if not ca.exists():
            self.write(ca)
        return Credentials(TlsFiles(ca, *cert_and_key), node=node)

    def _begun(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: datetime.timedelta,
        ends: datetime.timedelta,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def write_tls_ini(folder: Path, authority: Authority, count: int = 3, **settings: str | float) -> Path:
    """Write a cluster.ini with [tls], all certificates that it names, and that of the client `ann`."""
    path = write_cluster_ini(folder, count, **settings)
    add_tls(path, authority)
    return path


def add_tls(path: Path, authority: Authority) -> None:
    """Add [tls] to a cluster.ini, and all that it names: for its nodes and the client `ann`."""
    folder = path.parent
    authority.write(folder / "ca.pem")
    for name in load(path).nodes:
        authority.node(folder, name)
    authority.person(folder, "ann", "teller", "operator", "auditor", "admin")
    head, found, nodes = path.read_text(encoding="utf-8").partition("\n[node ")
    tls = (
        "\n[tls]\nca = ca.pem\ncert = {node}.pem\nkey = {node}.key\n"
        "client_cert = ann.pem\nclient_key = ann.key\n"
    )
    path.write_text(f"{head}{tls}{found}{nodes}", encoding="utf-8")
