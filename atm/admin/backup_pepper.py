"""The secret that PINs are sealed with, in a backup: only on demand, and only encrypted with a passphrase.

A key is derived from the passphrase by scrypt and encrypts by Fernet (AES-128-CBC with HMAC-SHA-256), both
from the package `cryptography`, which only this needs: the extra `backup` installs it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from atm.config import Cluster
from atm.files import create_durably, make_folder, write_durably
from atm.server.security.peppers import PepperRefused, Peppers, peppers_of, read_peppers
from atm.storage.backup_folder import BackupFolder, BackupRefused, Manifest

try:
    from cryptography import fernet
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
except ImportError:
    fernet = None  # type: ignore[assignment]

SALT_BYTES = 16
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**16, 8, 1  # 64 MiB and some 0.3 s of one core a try
PASSPHRASE_CHARS_MIN = 12


class _Sealed(Struct, frozen=True, kw_only=True):
    """The contents of the file; the numbers are those of scrypt."""

    format: int = 1
    n: int
    r: int
    p: int
    salt: bytes
    token: bytes


def read_passphrase(path: Path) -> bytes:
    """Return the first line of the file; raise `BackupRefused` if it is too short."""
    try:
        passphrase = path.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise BackupRefused(f"cannot read the passphrase in {path}: {error.strerror or error}") from error
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise BackupRefused(
            f"the passphrase in {path} is too short: {PASSPHRASE_CHARS_MIN} characters at least"
        )
    return passphrase


def add_pepper(folder: BackupFolder, pepper_file: Path, passphrase: bytes) -> None:
    """Write the encrypted secret into the backup.

    Raises `BackupRefused` if it is not the one that this bank's PINs are sealed with.
    """
    assert folder.manifest is not None
    peppers = _existing(pepper_file)
    if peppers is None:
        raise BackupRefused(f"there is no file {pepper_file}: name the pepper_file of a node")
    if not _opens(peppers, folder.manifest):
        raise BackupRefused(f"{pepper_file} is not the secret that this bank's PINs are sealed with")
    salt = secrets.token_bytes(SALT_BYTES)
    sealed = _Sealed(n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, salt=salt, token=b"")
    sealed = msgspec.structs.replace(sealed, token=_cipher(sealed, passphrase).encrypt(peppers.contents()))
    content = msgspec.json.encode(sealed)
    digest = hashlib.sha256(content).hexdigest()
    manifest = msgspec.structs.replace(folder.manifest, sealed_pepper_sha256=digest)
    write_durably(folder.path / manifest.sealed_pepper, content)
    folder.write(manifest)
    folder.remove_unlisted()


def put_pepper_back(
    folder: BackupFolder, cluster: Cluster, passphrase: bytes | None, *, preview: bool
) -> str:
    """Have the secret where the new cluster.ini says, if that is possible; return a sentence about it.

    Raises `BackupRefused` if another secret is there, or the passphrase is wrong.
    """
    manifest, path = folder.manifest, cluster.pepper_file
    assert manifest is not None
    present = _existing(path)
    if present is not None:
        if not _opens(present, manifest):
            raise BackupRefused(
                f"{path} is another secret than the one that the PINs in this backup are sealed with: put "
                "the right one "
                "there, or restore with --without-pepper and reset every customer's PIN"
            )
        return f"The PINs' secret is in {path}"
    if not manifest.sealed_pepper_sha256:
        return (
            f"MISSING: the PINs' secret is not in this backup. Put it at {path} on each machine before the "
            "nodes are "
            "started; if it is lost for good, restore with --without-pepper and reset every customer's PIN"
        )
    if passphrase is None:
        return f"The PINs' secret is in this backup: give --passphrase-file to have it put at {path}"
    peppers = _unsealed(folder, passphrase)
    if not _opens(peppers, manifest):
        raise BackupRefused(f"{folder.path / manifest.sealed_pepper} holds another secret than the backup's")
    if preview:
        return f"The PINs' secret would be put at {path}"
    make_folder(path.parent)
    create_durably(path, peppers.contents(), mode=0o600)
    return f"The PINs' secret was put at {path}: copy it to the other machines"


def _opens(peppers: Peppers, manifest: Manifest) -> bool:
    """Whether the PINs in this backup are sealed with these."""
    return (
        peppers.names[0] == manifest.pepper and (manifest.current_pepper or manifest.pepper) in peppers.names
    )


def _unsealed(folder: BackupFolder, passphrase: bytes) -> Peppers:
    folder.check_pepper()
    assert folder.manifest is not None
    path = folder.path / folder.manifest.sealed_pepper
    sealed = msgspec.json.decode(path.read_bytes(), type=_Sealed)
    cipher = _cipher(sealed, passphrase)
    try:
        peppers = peppers_of(cipher.decrypt(sealed.token))
    except fernet.InvalidToken:
        raise BackupRefused(
            "the passphrase is not the one that the PINs' secret was encrypted with"
        ) from None
    assert peppers is not None, "what was encrypted is whole"
    return peppers


def _cipher(sealed: _Sealed, passphrase: bytes) -> fernet.Fernet:
    if fernet is None:
        raise BackupRefused(
            "the package cryptography is missing, which encrypts the PINs' secret: pip install "
            "'atm-raft[backup]'"
        )
    kdf = Scrypt(salt=sealed.salt, length=32, n=sealed.n, r=sealed.r, p=sealed.p)
    return fernet.Fernet(base64.urlsafe_b64encode(kdf.derive(passphrase)))


def _existing(path: Path) -> Peppers | None:
    try:
        return read_peppers(path) if path.exists() else None
    except PepperRefused as error:
        raise BackupRefused(str(error)) from error
