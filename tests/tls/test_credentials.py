"""Certificate files: what is wrong with them is one line; what has changed is used, unless it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from atm.config import Cluster, ConfigError, TlsConfig, TlsFiles
from atm.tls.credentials import Credentials, TlsUnusable, load
from atm.tls.of_cluster import client_credentials, node_credentials
from tests.support.certificates import CLIENT, SERVER, Authority

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def bank() -> Authority:
    return Authority()


def files(folder: Path, bank: Authority, cert_and_key: tuple[Path, Path]) -> TlsFiles:
    return TlsFiles(bank.write(folder / "ca.pem"), *cert_and_key)


def test_a_servers_and_a_persons_certificate(tmp_path: Path, bank: Authority) -> None:
    server = load(files(tmp_path, bank, bank.node(tmp_path, "n1")), "n1")
    assert (server.identity.is_node, server.identity.name) == (True, "n1")
    assert server.server is not None
    person = load(files(tmp_path, bank, bank.person(tmp_path, "ann", "teller", "auditor")))
    assert {role.value for role in person.identity.roles} == {"teller", "auditor"}
    assert person.server is None
    assert person.ends_s == pytest.approx(server.ends_s, abs=600)


Spoil = Callable[[TlsFiles, Authority, Path], object]


def write(what: str, content: bytes) -> Spoil:
    return lambda files, bank, folder: getattr(files, what).write_bytes(content)


def encrypt(files: TlsFiles, bank: Authority, folder: Path) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda files, bank, folder: files.ca.unlink(),
            "the file of [tls] ca, {ca}, cannot be read: No such",
        ),
        (
            lambda files, bank, folder: files.key.unlink(),
            "the file of [tls] key, {key}, cannot be read: No such",
        ),
        (write("ca", b"nothing"), "the file of [tls] ca, {ca}, has no ca in PEM format"),
        (write("cert", b"\x30\x82"), "the file of [tls] cert, {cert}, has no cert in PEM format"),
        (write("key", b""), "the file of [tls] key, {key}, has no key in PEM format"),
        (
            write("ca", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "[tls] ca, {ca}, is damaged",
        ),
        (
            write("cert", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "the certificate {cert} or its key {key} is damaged",
        ),
        (
            lambda files, bank, folder: bank.issue(folder, "other")[1].replace(files.key),
            "the key {key} is not that of the certificate {cert}",
        ),
        (
            lambda files, bank, folder: files.key.chmod(0o644),
            "others can read the key {key} (mode 644): chmod 600",
        ),
        (
            lambda files, bank, folder: files.key.chmod(0o660),
            "others can read the key {key} (mode 660): chmod 600",
        ),
        (encrypt, "the key {key} is encrypted with a password"),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:node/n1", begins=-2 * DAY, ends=-DAY),
            "the certificate {cert} has expired",
        ),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:node/n1", begins=DAY, ends=2 * DAY),
            "the certificate {cert} is not valid yet",
        ),
        (
            lambda files, bank, folder: Authority("another").issue(folder, "n1", "atm:node/n1"),
            "the certificate {cert} is not trusted by the CAs in {ca}",
        ),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:node/n1", uses=[SERVER]),
            "the certificate {cert} is not made for this end",
        ),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:node/n1", uses=[CLIENT]),
            "the certificate {cert} is not made for this end",
        ),
        (lambda files, bank, folder: bank.issue(folder, "n1"), "the certificate {cert} names nobody"),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:node/n2"),
            "the certificate {cert} is that of n2, not of node n1",
        ),
        (
            lambda files, bank, folder: bank.issue(folder, "n1", "atm:admin/n1"),
            "the certificate {cert} is that of n1, not of node n1",
        ),
    ],
)
def test_whatever_is_wrong_is_one_line(tmp_path: Path, bank: Authority, spoil: Spoil, says: str) -> None:
    given = files(tmp_path, bank, bank.node(tmp_path, "n1"))
    spoil(given, bank, tmp_path)
    with pytest.raises(TlsUnusable) as raised:
        load(given, "n1")
    line = str(raised.value)
    assert says.format(ca=given.ca, cert=given.cert, key=given.key) in line
    assert "\n" not in line


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_group_may_read_a_key(tmp_path: Path, bank: Authority, mode: int) -> None:
    given = files(tmp_path, bank, bank.node(tmp_path, "n1"))
    given.key.chmod(mode)
    load(given, "n1")


def test_people_cannot_use_a_servers_certificate(tmp_path: Path, bank: Authority) -> None:
    with pytest.raises(TlsUnusable, match="is a server's, that of node n1"):
        load(files(tmp_path, bank, bank.node(tmp_path, "n1")))


def test_changed_files_are_used_and_wrong_ones_are_not(tmp_path: Path, bank: Authority) -> None:
    credentials = Credentials(files(tmp_path, bank, bank.node(tmp_path, "n1")), node="n1")
    first = credentials.loaded
    assert not credentials.refresh()
    bank.issue(tmp_path, "n1", "atm:node/n1", ends=90 * DAY)
    assert credentials.refresh()
    second = credentials.loaded
    assert second.ends_s - first.ends_s == pytest.approx(60 * 86_400, abs=600)
    (tmp_path / "n1.pem").write_text("spoilt")
    with pytest.raises(TlsUnusable, match="has no cert in PEM format"):
        credentials.refresh()
    assert credentials.loaded is second
    assert not credentials.refresh(), "it is told once"


def test_a_file_that_is_replaced_within_its_times_grain_is_noticed(tmp_path: Path, bank: Authority) -> None:
    credentials = Credentials(files(tmp_path, bank, bank.node(tmp_path, "n1")), node="n1")
    before = (tmp_path / "n1.pem").stat()
    (tmp_path / "new").mkdir()
    for new in bank.node(tmp_path / "new", "n1"):
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        new.replace(tmp_path / new.name)
    assert credentials.refresh()


def test_a_client_that_runs_for_long_looks_at_its_files_now_and_then(tmp_path: Path, bank: Authority) -> None:
    now_s = [0.0]
    given = files(tmp_path, bank, bank.person(tmp_path, "ann", "teller"))
    credentials = Credentials(given, clock=lambda: now_s[0])
    first = credentials.for_dialling()
    bank.person(tmp_path, "ann", "auditor")
    assert credentials.for_dialling() is first
    now_s[0] = 3.0
    second = credentials.for_dialling()
    assert second is not first
    given.key.chmod(0o666)
    now_s[0] = 6.0
    assert credentials.for_dialling() is second


def test_who_has_no_certificate_is_told_what_to_give(tmp_path: Path) -> None:
    tls = TlsConfig(tmp_path / "cluster.ini", tmp_path / "ca.pem")
    cluster = Cluster(tmp_path / "cluster.ini", tmp_path, tmp_path / "pepper", 50, (300, 600), {}, tls=tls)
    with pytest.raises(
        ConfigError, match=r"wants a certificate: give --cert FILE and --key FILE, or client_cert"
    ):
        client_credentials(cluster)
    with pytest.raises(ConfigError, match=r"\[tls\]: cert and key are missing; a node needs both"):
        node_credentials(cluster, "n1")
