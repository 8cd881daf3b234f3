"""The folder of a bank's certificates: its CA, and a certificate and a key for each node and each person.

ca.pem       the CAs that all ends trust: one, or two during a change
ca.key       the key that signs; on the machine that issues, and on no other
ca-next.key  the key of the second CA, until the change has begun
NAME.pem     a certificate
NAME.key     its key

A certificate and its key are two files that must change together. Both are written under other names, with
the suffix `.staged`, the key first; then the key gets its name, and then the certificate. Whoever opens the
folder next finishes a pair of which the key has its name, and forgets one of which nothing has. So a crash
leaves the old pair or the new one.
"""

from __future__ import annotations

import datetime
import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cryptography import x509

from atm.admin.certs_making import (
    PrivateKey,
    Unreadable,
    certificates_pem,
    fits,
    holder_of,
    is_signed_by,
    key_pem,
    name_of,
    new_authority,
    new_certificate,
    new_key,
    read_certificates,
    read_key,
)
from atm.admin.task import REFUSED, NotDone
from atm.files import make_folder, rename_durably, sync_folder, write_durably
from atm.identity import Identity, NoIdentity

AUTHORITIES, AUTHORITY_KEY, NEXT_KEY = "ca.pem", "ca.key", "ca-next.key"
CERTIFICATE_SUFFIX, KEY_SUFFIX, STAGED_SUFFIX = ".pem", ".key", ".staged"
T = TypeVar("T")

READABLE_BY_ALL = 0o644


@dataclass(frozen=True)
class Entry:
    """A certificate in the folder. What is wrong with it is said in `faults`, a phrase each."""

    file: str
    name: str  # of whom it names, or of the file
    roles: tuple[str, ...]
    ends: datetime.datetime | None
    signed_by: str
    faults: tuple[str, ...]


def utc_now() -> datetime.datetime:
    """Return the time to the second, as certificates have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


class CertsFolder:
    """An opened folder, locked until `close`; every method raises `NotDone` with a line for people."""

    def __init__(
        self, path: Path, *, make: bool = False, now: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        """Open it; without `make` it must be there."""
        self.path = path
        self._now = now
        if make:
            make_folder(path)
            sync_folder(path.parent)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotDone(REFUSED, f"there is no folder {path}: make a CA with certs init") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._finish_staged()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unlock it."""
        os.close(self._descriptor)

    @property
    def names(self) -> list[str]:
        """The names of all certificates but the CAs'."""
        files = self.path.glob(f"*{CERTIFICATE_SUFFIX}")
        return sorted(
            file.name.removesuffix(CERTIFICATE_SUFFIX) for file in files if file.name != AUTHORITIES
        )

    @property
    def is_changing(self) -> bool:
        """Whether there is a second CA that has not signed anything yet."""
        return self._has(NEXT_KEY)

    # -- the CA ------------------------------------------------------------------------------------

    def make_authority(self) -> x509.Certificate:
        """Make the CA; refuse if there is one."""
        for name in (AUTHORITIES, AUTHORITY_KEY):
            if self._has(name):
                raise NotDone(
                    REFUSED,
                    f"{self.path / name} is there already: nothing was written (to change the CA: certs init "
                    "--next)",
                )
        key = new_key()
        authority = new_authority(key, self._now())
        self._write_pair(AUTHORITY_KEY, key, AUTHORITIES, [authority])
        return authority

    def make_next_authority(self) -> x509.Certificate:
        """Make a second CA, which is trusted from now on, and signs once all are renewed."""
        trusted = self.authorities()
        if self.is_changing or len(trusted) > 1:
            raise NotDone(
                REFUSED,
                "a change of the CA is under way already: go on with certs renew --all, then certs retire",
            )
        self._signing()  # or else the old one could not be told from the new one
        key = new_key()
        authority = new_authority(key, self._now())
        self._write_pair(NEXT_KEY, key, AUTHORITIES, [*trusted, authority])
        return authority

    def retire(self) -> list[str]:
        """Trust only the CA that signs; return the names of those that are trusted no more."""
        if self.is_changing:
            raise NotDone(
                REFUSED, "the new CA has signed nothing yet: certs renew --all comes before certs retire"
            )
        signing, _ = self._signing()
        old = [each for each in self.authorities() if each != signing]
        if not old:
            raise NotDone(REFUSED, f"{self.path / AUTHORITIES} has one CA only: there is nothing to retire")
        left = [name for name in self.names if not is_signed_by(self._certificate(name), signing)]
        if left:
            raise NotDone(
                REFUSED,
                f"still signed by the old CA: {', '.join(left)}. Renew them first (certs renew), or remove "
                "their files",
            )
        write_durably(self.path / AUTHORITIES, certificates_pem([signing]), mode=READABLE_BY_ALL)
        return [name_of(each) for each in old]

    def authorities(self) -> list[x509.Certificate]:
        """Return the CAs that are trusted."""
        if not self._has(AUTHORITIES):
            raise NotDone(REFUSED, f"there is no {self.path / AUTHORITIES}: make a CA with certs init")
        return self._read(AUTHORITIES, read_certificates)

    # -- certificates ------------------------------------------------------------------------------

    def issue(self, holder: Identity, days: int) -> x509.Certificate:
        """Make a key and a certificate for a new name."""
        for suffix in (CERTIFICATE_SUFFIX, KEY_SUFFIX):
            if self._has(holder.name + suffix):
                raise NotDone(
                    REFUSED,
                    f"{self.path / (holder.name + suffix)} is there already: nothing was written (to renew "
                    f"it: certs renew {holder.name})",
                )
        return self._sign(holder, days)

    def renew(self, names: Sequence[str], days: int) -> list[x509.Certificate]:
        """Replace the keys and certificates of these names by new ones with the same roles.

        Nothing is changed if one of them cannot be renewed.
        """
        holders = [self._to_renew(name) for name in names]
        return [self._sign(each, days) for each in holders]

    def renew_all(self, days: int) -> list[x509.Certificate]:
        """Do so for all names, with the second CA if there is one: it signs from now on."""
        holders = [self._to_renew(name) for name in self.names]
        if self.is_changing:
            rename_durably(self.path / NEXT_KEY, self.path / AUTHORITY_KEY)
        return [self._sign(each, days) for each in holders]

    def _to_renew(self, name: str) -> Identity:
        if name not in self.names:
            raise NotDone(REFUSED, f"there is no certificate {self.path / name}{CERTIFICATE_SUFFIX}")
        certificate = self._certificate(name)
        if not any(is_signed_by(certificate, each) for each in self.authorities()):
            raise NotDone(
                REFUSED,
                f"{self.path / name}{CERTIFICATE_SUFFIX} was signed by no CA in {AUTHORITIES}: its roles are "
                "not to be trusted; remove it, and issue another",
            )
        try:
            holder = holder_of(certificate)
        except NoIdentity as error:
            raise NotDone(REFUSED, f"{self.path / name}{CERTIFICATE_SUFFIX} {error}") from None
        if holder.name != name:
            raise NotDone(
                REFUSED, f"{self.path / name}{CERTIFICATE_SUFFIX} is {holder.name}'s: give it that name back"
            )
        return holder

    def entries(self) -> list[Entry]:
        """Return all certificates, the CAs' first, with what is wrong with each."""
        authorities = self.authorities()
        return [self._authority_entry(each) for each in authorities] + [
            self._entry(name, authorities) for name in self.names
        ]

    def _sign(self, holder: Identity, days: int) -> x509.Certificate:
        authority, authority_key = self._signing()
        now = self._now()
        if authority.not_valid_after_utc <= now:
            raise NotDone(REFUSED, f"{name_of(authority)} has ended: change the CA with certs init --next")
        key = new_key()
        certificate = new_certificate(authority, authority_key, key, holder, now, days)
        self._write_pair(holder.name + KEY_SUFFIX, key, holder.name + CERTIFICATE_SUFFIX, [certificate])
        return certificate

    def _signing(self) -> tuple[x509.Certificate, PrivateKey]:
        """Return the CA that signs, and its key."""
        if not self._has(AUTHORITY_KEY):
            raise NotDone(
                REFUSED,
                f"there is no {self.path / AUTHORITY_KEY}: certificates are made where the CA's key is",
            )
        key = self._read(AUTHORITY_KEY, read_key)
        for authority in self.authorities():
            if fits(authority, key):
                return authority, key
        raise NotDone(REFUSED, f"{self.path / AUTHORITY_KEY} is the key of no CA in {AUTHORITIES}")

    def _authority_entry(self, authority: x509.Certificate) -> Entry:
        faults = []
        if authority.not_valid_after_utc <= self._now():
            faults.append("has ended")
        name = name_of(authority)
        return Entry(AUTHORITIES, name, ("ca",), authority.not_valid_after_utc, name, tuple(faults))

    def _entry(self, name: str, authorities: Sequence[x509.Certificate]) -> Entry:
        file = name + CERTIFICATE_SUFFIX
        try:
            certificate = self._certificate(name)
        except NotDone as error:
            return Entry(file, name, (), None, "", (str(error),))
        faults: list[str] = []
        roles: tuple[str, ...] = ()
        try:
            holder = holder_of(certificate)
            roles = tuple(sorted(holder.roles))
            if holder.name != name:
                faults.append(f"is {holder.name}'s")
        except NoIdentity as error:
            faults.append(str(error))
        signers = [name_of(each) for each in authorities if is_signed_by(certificate, each)]
        if not signers:
            faults.append(f"is signed by no CA in {AUTHORITIES}")
        if certificate.not_valid_after_utc <= self._now():
            faults.append("has ended")
        faults += self._key_faults(name, certificate)
        return Entry(file, name, roles, certificate.not_valid_after_utc, "".join(signers[:1]), tuple(faults))

    def _key_faults(self, name: str, certificate: x509.Certificate) -> list[str]:
        if not self._has(name + KEY_SUFFIX):
            return ["its key is not here"]
        try:
            key = self._read(name + KEY_SUFFIX, read_key)
        except NotDone as error:
            return [str(error)]
        faults = [] if fits(certificate, key) else ["its key is another one's: renew it"]
        if (self.path / (name + KEY_SUFFIX)).stat().st_mode & 0o037:
            faults.append(f"others can read its key: chmod 600 {name}{KEY_SUFFIX}")
        return faults

    # -- files -------------------------------------------------------------------------------------

    def _has(self, name: str) -> bool:
        return (self.path / name).exists() or (self.path / name).is_symlink()

    def _certificate(self, name: str) -> x509.Certificate:
        return self._read(name + CERTIFICATE_SUFFIX, read_certificates)[0]

    def _read(self, name: str, read: Callable[[bytes], T]) -> T:
        try:
            return read((self.path / name).read_bytes())
        except Unreadable as error:
            raise NotDone(REFUSED, f"{self.path / name} {error}") from None

    def _write_pair(
        self, key_name: str, key: PrivateKey, certificate_name: str, certificates: Sequence[x509.Certificate]
    ) -> None:
        staged_key, staged_certificate = self._staged(key_name), self._staged(certificate_name)
        write_durably(staged_key, key_pem(key))
        write_durably(staged_certificate, certificates_pem(certificates), mode=READABLE_BY_ALL)
        rename_durably(staged_key, self.path / key_name)
        rename_durably(staged_certificate, self.path / certificate_name)

    def _staged(self, name: str) -> Path:
        return self.path / (name + STAGED_SUFFIX)

    def _finish_staged(self) -> None:
        """Finish or forget what a command that was killed left."""
        keys = list(self.path.glob(f"*{KEY_SUFFIX}{STAGED_SUFFIX}"))
        certificates = list(self.path.glob(f"*{CERTIFICATE_SUFFIX}{STAGED_SUFFIX}"))
        if keys:  # of one command, as the folder is locked: none of its files has its name
            for path in (*certificates, *keys):  # a certificate alone would be taken for one to be finished
                path.unlink()
                sync_folder(self.path)
            return
        for path in certificates:
            rename_durably(path, path.with_name(path.name.removesuffix(STAGED_SUFFIX)))
