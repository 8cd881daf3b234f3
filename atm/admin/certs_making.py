"""Keys and certificates, made and read with the package `cryptography`; no file is touched here.

A key is one of the curve P-256. A certificate names its holder by URIs (atm/identity.py) and says for which
end of a connection it is: a server's for both, all others for a client's.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atm.identity import Identity, NoIdentity, identity_of, role_uri

PrivateKey = ec.EllipticCurvePrivateKey

AUTHORITY_DAYS = 3650
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
BEGAN_BEFORE = datetime.timedelta(hours=1)  # for machines whose clocks are behind


class Unreadable(Exception):
    """A file is no certificate or no key; `str()` of it continues a line that names the file."""


def new_key() -> PrivateKey:
    """Draw a key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """Return the contents of its file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(content: bytes) -> PrivateKey:
    """Return the key in a file; raise `Unreadable`."""
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise Unreadable("is no key in PEM, or it has a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Unreadable("is a key of another kind: an elliptic curve is needed")
    return key


def certificates_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return the contents of their file."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def read_certificates(content: bytes) -> list[x509.Certificate]:
    """Return the certificates in a file, one at least; raise `Unreadable`."""
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise Unreadable("is no certificate in PEM") from error


def new_authority(key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    """Return the certificate of a CA that signs with this key; its name is different for each key."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = _named(f"atm-raft CA {digest.digest.hex()[:8]}")
    until = now + datetime.timedelta(days=AUTHORITY_DAYS)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _begun(subject, subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def new_certificate(
    authority: x509.Certificate,
    authority_key: PrivateKey,
    key: PrivateKey,
    holder: Identity,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """Return a certificate for the holder of `key`; it ends no later than that of the CA."""
    uris = [x509.UniformResourceIdentifier(role_uri(role, holder.name)) for role in sorted(holder.roles)]
    ends = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if holder.is_node:
        ends.append(ExtendedKeyUsageOID.SERVER_AUTH)
    until = min(now + datetime.timedelta(days=days), authority.not_valid_after_utc)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _begun(_named(holder.name), authority.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(ends), critical=False)
        .add_extension(x509.SubjectAlternativeName(uris), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def holder_of(certificate: x509.Certificate) -> Identity:
    """Return whom a certificate names; raise `NoIdentity`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise NoIdentity("names nobody: it has no alternative name") from error
    return identity_of(names.get_values_for_type(x509.UniformResourceIdentifier))


def fits(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Return whether the certificate is the one of this key."""
    return _public_bytes(certificate.public_key()) == _public_bytes(key.public_key())


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether this CA has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def name_of(certificate: x509.Certificate) -> str:
    """Return the common name of the subject, such as that of a CA."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else "without a name"


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEGAN_BEFORE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(**allowed: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**(dict.fromkeys(USAGES, False) | allowed))


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
