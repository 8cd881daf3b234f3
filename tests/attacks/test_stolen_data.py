"""H8: a copy of the data, or of a backup, opens no PIN: the pepper is in neither.

With the pepper inside `data_dir`, where release 1.1.0 (e233312) made it and where this tree takes it from if
`pepper_file` says so, the same search finds it, and then the PIN.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from atm.admin.main import main as admin
from atm.client import Client
from atm.ledger.commands import Login
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.security.peppers import Peppers
from atm.server.security.pins import PinSealer

PIN = "4711"
GUESSES = [f"{number:04}" for number in range(4705, 4715)]  # of the 10,000 that an attacker would try
WITHIN_S = 10.0


def used_bank(folder: Path, **settings: str | float) -> LocalCluster:
    """Return a bank that has stopped, with an account that has a PIN; a backup of it is in `backup`."""
    with LocalCluster(write_cluster_ini(folder, 1, **settings)) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        with Client(cluster.cluster, timeout=WITHIN_S) as client:
            client.open("victim")
            assert client.set_pin("victim", PIN).outcome == "ok"
        config = ["--config", str(cluster.cluster.path)]
        assert admin(["backup", str(folder / "backup"), *config]) == 0
    return cluster


def peppers_in(folder: Path) -> list[bytes]:
    """Return what could be a pepper: the contents of small files in hexadecimal."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                pepper = bytes.fromhex(path.read_text(encoding="ascii"))
            except ValueError:
                continue
            if len(pepper) == 32:
                found.append(pepper)
    return found


def pins_found(ledger: Path, pepper: bytes) -> list[str]:
    """Return the PINs of the victim that fit the seal in the stolen ledger."""
    with closing(sqlite3.connect(ledger)) as stolen:
        [(seal,)] = stolen.execute("SELECT pin FROM account WHERE account = 'victim'").fetchall()
    sealer = PinSealer(Peppers([pepper]))
    logins = [sealer.seal(Login(id="l", account="victim", pin=guess)) for guess in GUESSES]
    return [
        guess
        for guess, login in zip(GUESSES, logins, strict=True)
        if isinstance(login, Login) and login.pin == seal
    ]


def test_neither_the_data_nor_a_backup_has_the_pepper(tmp_path: Path) -> None:
    bank = used_bank(tmp_path).cluster
    pepper = bytes.fromhex(bank.pepper_file.read_text())
    for copy in (bank.data_dir, tmp_path / "backup"):
        assert peppers_in(copy) == []
        for path in copy.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert pepper not in content, path
                assert pepper.hex().encode() not in content, path
    ledger = bank.data_dir / "n1" / "ledger.db"
    assert pins_found(ledger, bytes(32)) == [], "without it no PIN fits, the right one neither"
    assert pins_found(ledger, pepper) == [PIN], "what a thief has who gets both"


def test_with_the_pepper_among_the_data_a_copy_opens_the_pins(tmp_path: Path) -> None:
    bank = used_bank(tmp_path, pepper_file="data/pepper.key").cluster
    [pepper] = peppers_in(bank.data_dir)
    assert pins_found(bank.data_dir / "n1" / "ledger.db", pepper) == [PIN]
    assert peppers_in(tmp_path / "backup") == []
