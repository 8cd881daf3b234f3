"""bin/admin certs: what is made, by another program's judgement, and what a mistake or a kill leaves."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from atm.admin.certs_folder import CertsFolder
from atm.admin.certs_making import fits, holder_of, is_signed_by, read_certificates, read_key
from atm.admin.main import main
from atm.admin.task import NotDone
from atm.identity import Identity, Role
from tests.support.running import Ran

NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
ANN = Identity("ann", frozenset({Role.TELLER, Role.OPERATOR}))
NODE = Identity("5000", frozenset({Role.NODE}))

Certs = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `certs` works; its cluster.ini has the node 5000 only."""
    monkeypatch.chdir(tmp_path)
    text = "[node 5000]\nclient = localhost:5000\npeer = localhost:6000\n"
    (tmp_path / "cluster.ini").write_text(text)
    return tmp_path / "certs"


@pytest.fixture
def certs(folder: Path, capsys: pytest.CaptureFixture[str]) -> Certs:
    def certs(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(["certs", *arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ran(code, capsys.readouterr())

    return certs


@pytest.fixture
def issued(certs: Certs, folder: Path) -> Path:
    """A folder with a CA, a node and a person."""
    assert certs("init").code == 0
    assert certs("issue", "5000", "--role", "node").code == 0
    assert certs("issue", "ann", "--role", "teller", "--role", "operator").code == 0
    return folder


def certificate(folder: Path, name: str) -> x509.Certificate:
    return read_certificates((folder / f"{name}.pem").read_bytes())[0]


def pair_fits(folder: Path, name: str) -> bool:
    return fits(certificate(folder, name), read_key((folder / f"{name}.key").read_bytes()))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_trusted(folder: Path, name: str, ca: Path, purpose: str = "sslclient") -> bool:
    """Return whether openssl trusts the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("OPENSSL IS NOT INSTALLED: what is made is not judged by it here")
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        str(ca),
        str(folder / f"{name}.pem"),
    ]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


# -- what is made ------------------------------------------------------------------------------------------


def test_openssl_trusts_what_is_issued_for_its_own_end_of_a_connection_only(issued: Path) -> None:
    ca = issued / "ca.pem"
    assert is_trusted(issued, "ann", ca)
    assert not is_trusted(issued, "ann", ca, "sslserver"), "no teller can pose as a server"
    assert is_trusted(issued, "5000", ca)
    assert is_trusted(issued, "5000", ca, "sslserver")


def test_a_certificate_carries_its_roles_in_its_alternative_name(issued: Path) -> None:
    assert holder_of(certificate(issued, "ann")) == ANN
    assert holder_of(certificate(issued, "5000")) == NODE
    names = certificate(issued, "ann").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["atm:operator/ann", "atm:teller/ann"]


def test_pythons_tls_takes_the_pairs(issued: Path) -> None:
    for name in ("5000", "ann"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(issued / "ca.pem")
        context.load_cert_chain(issued / f"{name}.pem", issued / f"{name}.key")


def test_keys_are_their_owners_alone_and_certificates_for_all_to_read(issued: Path) -> None:
    assert stat.S_IMODE(issued.stat().st_mode) == 0o700
    for path in issued.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o600 if path.suffix == ".key" else 0o644), path


def test_it_is_valid_for_the_days_that_were_given_and_no_longer_than_the_ca(tmp_path: Path) -> None:
    with CertsFolder(tmp_path / "certs", make=True, now=lambda: NOW) as folder:
        ca = folder.make_authority()
        short = folder.issue(ANN, 30)
    with CertsFolder(tmp_path / "certs", now=lambda: NOW + 3640 * DAY) as folder:
        (long,) = folder.renew(["ann"], 365)
    assert short.not_valid_after_utc == NOW + 30 * DAY
    assert short.not_valid_before_utc < NOW, "a clock that is a little behind takes it, too"
    assert long.not_valid_after_utc == ca.not_valid_after_utc


def test_what_is_printed_says_who_and_where(certs: Certs) -> None:
    assert (
        certs("init").out[0] == "Made a CA in certs: ca.pem is for every machine, ca.key signs and stays here"
    )
    issued = certs("issue", "ann", "--role", "operator", "--role", "teller", "--days", "30").out
    assert issued[0].startswith("Issued certs/ann.pem and ann.key: ann, operator, teller, until 20")
    assert certs("issue", "5009", "--role", "node").out[1] == "There is no node 5009 in cluster.ini yet"


def test_another_folder_may_be_given(certs: Certs, tmp_path: Path, folder: Path) -> None:
    assert certs("init", "--folder", str(tmp_path / "else where")).code == 0
    assert sorted(contents(tmp_path / "else where")) == ["ca.key", "ca.pem"]
    assert not folder.exists()


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["issue", "ann"], "the following arguments are required: --role"),
        (["issue", "ann", "--role", "king"], "invalid choice: 'king'"),
        (["issue", "", "--role", "teller"], "'' is no name"),
        (["issue", "../ann", "--role", "teller"], "'../ann' is no name"),
        (["issue", ".ann", "--role", "teller"], "'.ann' is no name"),
        (["issue", "a b", "--role", "teller"], "'a b' is no name"),
        (["issue", "a\nb", "--role", "teller"], "is no name"),
        (["issue", "x" * 33, "--role", "teller"], "is no name"),
        (["issue", "CA", "--role", "teller"], "CA is the name of the CA's files"),
        (["issue", "ca-next", "--role", "node"], "ca-next is the name of the CA's files"),
        (["issue", "n.1", "--role", "node"], "'n.1' is no name of a node"),
        (["issue", "n1", "--role", "node", "--role", "admin"], "a node has no other role"),
        (["issue", "ann", "--role", "teller", "--days", "0"], "a number of days from 1 to 3650, not 0"),
        (["issue", "ann", "--role", "teller", "--days", "3651"], "a number of days from 1 to 3650, not 3651"),
        (["issue", "ann", "--role", "teller", "--days", "1.5"], "a number of days from 1 to 3650, not 1.5"),
        (["renew"], "name the certificates to renew, or give --all"),
        (["renew", "ann", "--all"], "name the certificates to renew, or give --all"),
        ([], "the following arguments are required: ACTION"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(issued: Path, certs: Certs, arguments: list[str], says: str) -> None:
    before = contents(issued)
    ran = certs(*arguments)
    assert (ran.code, ran.out, len(ran.err)) == (2, [], 1), ran.err
    assert says in ran.err[0]
    assert contents(issued) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["init"], "ca.pem is there already: nothing was written"),
        (["issue", "ann", "--role", "admin"], "ann.pem is there already: nothing was written"),
        (["renew", "bob"], "there is no certificate"),
        (["renew", "ann", "bob"], "there is no certificate"),
        (["retire"], "has one CA only: there is nothing to retire"),
    ],
)
def test_what_is_there_is_not_overwritten_and_what_is_not_there_not_renewed(
    issued: Path, certs: Certs, arguments: list[str], says: str
) -> None:
    before = contents(issued)
    ran = certs(*arguments)
    assert (ran.code, len(ran.err)) == (1, 1)
    assert says in ran.err[0]
    assert contents(issued) == before


@pytest.mark.parametrize("file", ["ann.key", "ann.pem"])
def test_a_file_of_that_name_is_not_overwritten_even_if_it_is_a_dangling_link(
    issued: Path, certs: Certs, file: str
) -> None:
    for name in ("ann.key", "ann.pem"):
        (issued / name).unlink()
    (issued / file).symlink_to(issued / "nothing")
    assert certs("issue", "ann", "--role", "teller").code == 1
    assert (issued / file).is_symlink()


def test_without_a_ca_or_its_key_nothing_is_issued(certs: Certs, folder: Path) -> None:
    assert "there is no folder" in certs("issue", "ann", "--role", "teller").err[0]
    certs("init")
    key = (folder / "ca.key").read_bytes()
    (folder / "ca.key").unlink()
    assert "certificates are made where the CA's key is" in certs("issue", "ann", "--role", "teller").err[0]
    for junk, says in ((b"junk", "is no key in PEM"), (b"", "is no key in PEM")):
        (folder / "ca.key").write_bytes(junk)
        assert says in certs("issue", "ann", "--role", "teller").err[0]
    (folder / "ca.key").write_bytes(key)
    (folder / "ca.pem").write_bytes(b"junk")
    assert "is no certificate in PEM" in certs("issue", "ann", "--role", "teller").err[0]
    assert sorted(contents(folder)) == ["ca.key", "ca.pem"]


def test_a_ca_that_has_ended_signs_nothing(tmp_path: Path) -> None:
    with CertsFolder(tmp_path / "certs", make=True, now=lambda: NOW) as folder:
        folder.make_authority()
    with (
        CertsFolder(tmp_path / "certs", now=lambda: NOW + 3650 * DAY) as folder,
        pytest.raises(NotDone, match="has ended: change the CA with certs init --next"),
    ):
        folder.issue(ANN, 30)


def test_without_the_package_the_extra_is_named_in_one_line(
    certs: Certs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("atm.admin.certs_folder", "atm.admin.certs_making"):
        monkeypatch.delitem(sys.modules, name)
    for arguments in (["init"], ["show"]):
        ran = certs(*arguments)
        assert (ran.code, ran.out, len(ran.err)) == (2, [], 1)
        assert "pip install 'atm-raft[certs]'" in ran.err[0]
    assert not folder.exists()


# -- renewal -----------------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_the_same_persons_with_a_new_key_and_a_new_end(
    issued: Path, certs: Certs
) -> None:
    old, old_key, node = (
        certificate(issued, "ann"),
        (issued / "ann.key").read_bytes(),
        contents(issued)["5000.pem"],
    )
    ran = certs("renew", "ann", "--days", "700")
    assert ran.code == 0
    new = certificate(issued, "ann")
    assert holder_of(new) == holder_of(old)
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert (issued / "ann.key").read_bytes() != old_key
    assert pair_fits(issued, "ann")
    assert is_trusted(issued, "ann", issued / "ca.pem")
    assert contents(issued)["5000.pem"] == node
    assert stat.S_IMODE((issued / "ann.key").stat().st_mode) == 0o600


def test_one_that_has_ended_can_be_renewed(tmp_path: Path) -> None:
    with CertsFolder(tmp_path / "certs", make=True, now=lambda: NOW) as folder:
        folder.make_authority()
        folder.issue(ANN, 1)
    with CertsFolder(tmp_path / "certs", now=lambda: NOW + 2 * DAY) as folder:
        assert folder.entries()[1].faults == ("has ended",)
        folder.renew(["ann"], 1)
        assert folder.entries()[1].faults == ()


@pytest.mark.parametrize("wrong", ["another bank's", "another name", "junk"])
def test_one_that_is_not_what_it_seems_is_not_renewed_and_the_others_neither(
    issued: Path, certs: Certs, tmp_path: Path, wrong: str
) -> None:
    """A role must not be had by laying a certificate of one's own into the folder."""
    if wrong == "another bank's":
        elsewhere = tmp_path / "elsewhere"
        certs("init", "--folder", str(elsewhere))
        certs("issue", "zoe", "--role", "admin", "--folder", str(elsewhere))
        shutil.copy(elsewhere / "zoe.pem", issued)
        says = "was signed by no CA in ca.pem: its roles are not to be trusted"
    elif wrong == "another name":
        shutil.copy(issued / "ann.pem", issued / "zoe.pem")
        says = "is ann's: give it that name back"
    else:
        (issued / "zoe.pem").write_text("junk")
        says = "is no certificate in PEM"
    before = contents(issued)
    for arguments in (["--all"], ["ann", "zoe"]):
        ran = certs("renew", *arguments)
        assert ran.code == 1
        assert says in ran.err[0]
    assert contents(issued) == before


# -- a change of the CA ------------------------------------------------------------------------------------


def test_a_change_of_the_ca_at_no_time_leaves_anybody_without_a_trusted_certificate(
    issued: Path, certs: Certs, tmp_path: Path
) -> None:
    first = tmp_path / "first.pem"
    shutil.copy(issued / "ca.pem", first)

    assert certs("init", "--next").code == 0
    both = tmp_path / "both.pem"
    shutil.copy(issued / "ca.pem", both)
    assert certs("issue", "bob", "--role", "teller").code == 0
    assert is_trusted(issued, "bob", first), "until all machines have both, the first one signs"
    assert is_trusted(issued, "ann", both)
    assert certs("retire").code == 1, "not before the second one has signed"

    assert certs("renew", "--all").code == 0
    for name in ("5000", "ann", "bob"):
        assert is_trusted(issued, name, both)
        assert not is_trusted(issued, name, first)
    assert not (issued / "ca-next.key").exists()

    assert certs("retire").code == 0
    for name in ("5000", "ann", "bob"):
        assert is_trusted(issued, name, issued / "ca.pem")
    assert len(read_certificates((issued / "ca.pem").read_bytes())) == 1
    assert certs("issue", "eve", "--role", "auditor").code == 0
    assert is_trusted(issued, "eve", issued / "ca.pem")


def test_the_old_ca_is_not_retired_while_it_has_signed_for_anybody(issued: Path, certs: Certs) -> None:
    certs("init", "--next")
    old = (issued / "ann.pem").read_bytes()
    certs("renew", "--all")
    (issued / "ann.pem").write_bytes(old)
    ran = certs("retire")
    assert ran.code == 1
    assert "still signed by the old CA: ann" in ran.err[0]


@pytest.mark.parametrize("begun", [False, True])
def test_a_third_ca_is_not_begun_before_the_change_to_the_second_is_over(
    issued: Path, certs: Certs, begun: bool
) -> None:
    certs("init", "--next")
    if begun:
        certs("renew", "--all")
    before = contents(issued)
    ran = certs("init", "--next")
    assert ran.code == 1
    assert "a change of the CA is under way already" in ran.err[0]
    assert contents(issued) == before


# -- kills -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Ends the process at one of its calls of the system: before it, or right after."""

    CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._burning(getattr(os, name)))

    def _burning(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def burning(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return call(*arguments, **options)

        return burning


ACTIONS: dict[str, Callable[[CertsFolder], object]] = {
    "issue": lambda folder: folder.issue(Identity("bob", frozenset({Role.TELLER})), 30),
    "renew": lambda folder: folder.renew(["ann"], 30),
    "init --next": CertsFolder.make_next_authority,
    "renew --all": lambda folder: folder.renew_all(30),
    "retire": CertsFolder.retire,
}


def begun(folder: Path, action: str) -> None:
    """Make the folder in which the action is to be done."""
    with CertsFolder(folder, make=True) as made:
        made.make_authority()
        made.issue(ANN, 30)
        made.issue(NODE, 30)
        if action in ("renew --all", "retire"):
            made.make_next_authority()
        if action == "retire":
            made.renew_all(30)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_kill_at_any_call_leaves_the_old_or_the_new_and_the_next_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    template = tmp_path / "template"
    begun(template, action)
    done = False
    count = 0
    while not done:
        path = tmp_path / f"killed-{count}"
        shutil.copytree(template, path)
        with monkeypatch.context() as patch:
            Fuse(patch, count)
            with contextlib.suppress(Killed), CertsFolder(path) as folder:
                ACTIONS[action](folder)
                done = True
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            Fuse(patch, count % 3)  # and what comes after is killed once, too
            CertsFolder(path).close()
        check_whole(path)
        finish(path, action)
        count += 1
    assert count > 5


def check_whole(path: Path) -> None:
    """Check that each certificate has its key and a CA that is trusted, and that the CA can go on."""
    with CertsFolder(path) as folder:
        entries = folder.entries()
        assert [entry.faults for entry in entries] == [()] * len(entries)
        assert {"ann", "5000"} <= {entry.name for entry in entries}
        folder.issue(Identity("probe", frozenset({Role.AUDITOR})), 1)
    (path / "probe.pem").unlink()
    (path / "probe.key").unlink()
    assert not [file for file in path.iterdir() if file.name.endswith(".staged")]


def finish(path: Path, action: str) -> None:
    """Do the action again, unless it was done, and check what came of it."""
    with CertsFolder(path) as folder:
        is_done = {
            "issue": "bob" in folder.names,
            "init --next": folder.is_changing,
            "retire": len(folder.authorities()) == 1,
        }
        if not is_done.get(action):
            ACTIONS[action](folder)
        signing, _ = folder._signing()
        if action in ("renew --all", "retire"):
            assert all(is_signed_by(certificate(path, name), signing) for name in folder.names)
    check_whole(path)


# -- the list ----------------------------------------------------------------------------------------------


def test_the_list_says_who_until_when_by_which_ca_and_what_is_wrong(issued: Path, certs: Certs) -> None:
    shown = certs("show").out
    assert shown[0].split() == ["file", "who", "roles", "until", "signed", "by", "state"]
    assert [line.split()[0] for line in shown[2:]] == ["ca.pem", "5000.pem", "ann.pem"]
    assert all(line.endswith("ok") for line in shown[2:])

    (issued / "5000.key").unlink()
    (issued / "ann.key").chmod(0o644)
    shutil.copy(issued / "ca.key", issued / "ann.key")
    (issued / "zoe.pem").write_text("junk")
    (report,) = map(json.loads, certs("show", "--json").out)
    faults = {each["file"]: each["faults"] for each in report["certificates"]}
    assert faults["ca.pem"] == []
    assert faults["5000.pem"] == ["its key is not here"]
    assert faults["ann.pem"][0] == "its key is another one's: renew it"
    assert "is no certificate in PEM" in faults["zoe.pem"][0]
    ann = next(each for each in report["certificates"] if each["file"] == "ann.pem")
    assert ann["roles"] == ["operator", "teller"]
    assert ann["ends_us"] == int(certificate(issued, "ann").not_valid_after_utc.timestamp()) * 1_000_000


def test_a_key_that_others_can_read_is_told(issued: Path, certs: Certs) -> None:
    (issued / "ann.key").chmod(0o644)
    (report,) = map(json.loads, certs("show", "--json").out)
    assert report["certificates"][2]["faults"] == ["others can read its key: chmod 600 ann.key"]
