"""PINs: sealed where they come in, everywhere alike, with a pepper that is made once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Lock, Thread
from typing import Any, get_args

import pytest

from atm.config import Cluster
from atm.ledger.commands import Batch, Credit, Debit, Hold, Leg, Login, Outcome, Query, SetPin, Transfer
from atm.server.security.peppers import PEPPER_BYTES, PepperRefused, Peppers, new_peppers, read_peppers
from atm.server.security.pin_queue import AT_ONCE_MAX
from atm.server.security.pins import PIN_HOLDERS, PinSealer, holds_plain_pin
from atm.wire.client_messages import ClientRequest
from atm.wire.codec import encode
from atm.wire.log_entries import command_data, decode_command
from atm.wire.request_decoding import decode_client_request
from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of

PEPPER = bytes(range(PEPPER_BYTES))
PEPPERS = Peppers([PEPPER])
PIN = "86420975"  # long, so that no file holds it by chance

WITH_PIN = [
    Debit(id="1", account="ann", amount=5, pin=PIN),
    Transfer(id="2", account="ann", target="bob", amount=5, pin=PIN),
    Hold(id="3", account="ann", amount=5, expires_ms=5, pin=PIN),
    SetPin(id="4", account="ann", pin=PIN),
    SetPin(id="5", account="ann", pin=PIN, old_pin="1234"),
    SetPin(id="6", account="ann", pin="1234", old_pin=PIN),
    Login(id="7", account="ann", pin=PIN),
    Batch(id="8", legs=(Leg(account="ann", target="bob", amount=5, pin=PIN),)),
    Batch(
        id="9",
        legs=(
            Leg(account="ann", target="bob", amount=5),
            Leg(account="bob", target="ann", amount=5, pin=PIN),
        ),
    ),
]
WITHOUT_PIN = [
    Debit(id="1", account="ann", amount=5),
    Credit(id="2", account="ann", amount=5),
    Batch(id="3", legs=(Leg(account="ann", target="bob", amount=5),)),
    Query(id="4", account="ann"),
]


def seal_of(pin: str, account: str = "ann", pepper: bytes = PEPPER) -> str:
    sealed = PinSealer(Peppers([pepper])).seal(Login(id="l", account=account, pin=pin))
    assert isinstance(sealed, Login)
    return sealed.pin


# -- seals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", WITH_PIN, ids=lambda request: encode(request).hex()[:24])
def test_a_sealed_request_shows_no_pin_and_is_else_the_same(request_: ClientRequest) -> None:
    assert holds_plain_pin(request_)
    sealed = PinSealer(PEPPERS).seal(request_)
    assert not holds_plain_pin(sealed)
    payload = encode(sealed)
    assert PIN.encode() not in payload
    assert b"1234" not in payload.replace(seal_of("1234").encode(), b"")
    assert decode_command(command_data("local", payload)).command == sealed
    for name in ("id", "account", "target", "amount", "expires_ms"):
        assert getattr(sealed, name, None) == getattr(request_, name, None)


@pytest.mark.parametrize("request_", WITHOUT_PIN, ids=lambda request: type(request).__name__)
def test_a_request_without_a_pin_is_left_alone(request_: ClientRequest) -> None:
    assert not holds_plain_pin(request_)
    sealed = PinSealer(PEPPERS).seal(request_)
    assert sealed == request_
    assert encode(sealed) == encode(request_)


def test_servers_with_one_pepper_seal_alike() -> None:
    assert seal_of(PIN) == seal_of(PIN)
    assert PEPPERS.names[0] == Peppers([bytes(PEPPER)]).names[0]


def test_another_account_another_pepper_or_another_pin_is_another_seal() -> None:
    other = bytes(PEPPER_BYTES)
    seals = {seal_of(PIN), seal_of(PIN, "bob"), seal_of(PIN, pepper=other), seal_of("1234"), seal_of("12340")}
    assert len(seals) == 5
    assert PEPPERS.names[0] != Peppers([other]).names[0]


def test_a_seal_made_once_is_made_the_same_in_every_release() -> None:
    """Else no customer's PIN would be right any more."""
    assert seal_of("1234") == "b80449d894aff83bb70fda7d47a69165453c2aef159a7e2c4dd970009a8e0667"
    assert PEPPERS.names[0] == "5cb83a91cf5f8ad4"


def test_only_so_many_pins_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 16 MiB and a core for a while; the run loop wants its share."""
    as_many, one_more = Barrier(AT_ONCE_MAX, timeout=DEADLINE_S), Barrier(AT_ONCE_MAX + 1, timeout=0.2)
    met: list[int] = []
    lock = Lock()

    def scrypt(_pin: bytes, **_options: Any) -> bytes:
        as_many.wait()
        try:
            one_more.wait()
        except BrokenBarrierError:
            return b"slow"
        with lock:
            met.append(1)
        return b"slow"

    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    sealer = PinSealer(PEPPERS)
    logins = [Login(id="l", account=f"ann{number}", pin=PIN) for number in range(3 * AT_ONCE_MAX)]
    threads = [Thread(target=sealer.seal, args=(login,)) for login in logins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert met == [], "more than the limit met in the hash"


# -- the server ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_of(tmp_path_factory.mktemp("pins"), "n1")


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[RunningServer]:
    with RunningServer(cluster, "n1") as running:
        yield running.wait_for_leader()
        assert running.reported == []


@pytest.mark.parametrize("wrong", ["ab" * 32, seal_of(PIN), "123", "1" * 13, "12a4", "", "١٢٣٤", 1234])
@pytest.mark.parametrize(
    "fields",
    [
        {"op": "debit", "id": "x", "account": "main", "amount": 5},
        {"op": "login", "id": "x", "account": "main"},
        {"op": "set_pin", "id": "x", "account": "main"},
    ],
    ids=lambda fields: str(fields["op"]),
)
def test_a_client_sends_a_pin_as_digits_and_never_sealed(
    server: RunningServer, fields: dict[str, object], wrong: object
) -> None:
    """Else who has seen a ledger could pay with what stands in it."""
    with Wire(server.client) as wire:
        answer = wire.ask(fields | {"pin": wrong})
        assert (answer["id"], answer["outcome"]) == ("x", "bad_request")
        assert str(wrong) not in answer["message"] or wrong == ""
        assert wire.answer() is None


def test_a_sealed_leg_or_old_pin_is_refused_too(server: RunningServer) -> None:
    sealed = seal_of(PIN)
    leg = {"account": "main", "target": "bob", "amount": 5}
    for fields in (
        {"op": "batch", "id": "x", "legs": [leg | {"pin": "1234"}, leg | {"pin": sealed}]},
        {"op": "set_pin", "id": "x", "account": "main", "pin": "1234", "old_pin": sealed},
    ):
        with Wire(server.client) as wire:
            assert wire.ask(fields)["outcome"] == "bad_request"


def test_no_file_of_a_server_holds_a_pin_that_was_typed(cluster: Cluster, server: RunningServer) -> None:
    with Wire(server.client) as wire:
        leg = {"account": "main", "target": "bob", "amount": 5, "pin": PIN}
        requests: list[dict[str, object]] = [
            {"op": "open", "account": "bob"},
            {"op": "credit", "account": "main", "amount": 100},
            {"op": "set_pin", "account": "main", "pin": PIN},
            {"op": "login", "account": "main", "pin": PIN},
            {"op": "login", "account": "main", "pin": PIN[::-1]},
            {"op": "debit", "account": "main", "amount": 5, "pin": PIN},
            {"op": "transfer", **leg},
            {"op": "batch", "legs": [leg]},
            {"op": "hold", "account": "main", "amount": 5, "expires_ms": 5, "pin": PIN},
            {"op": "set_pin", "account": "main", "pin": PIN[::-1], "old_pin": PIN},
        ]
        outcomes = [
            wire.ask(request | {"id": str(number)})["outcome"] for number, request in enumerate(requests)
        ]
        assert [outcome for outcome in outcomes if outcome != Outcome.OK] == ["wrong_pin"]
        with Wire(server.client) as other:
            assert other.ask({"op": "login", "id": "x", "account": "main", "pin": PIN + "x"})["outcome"] == (
                "bad_request"
            )
        files = [path for path in cluster.data_dir.parent.rglob("*") if path.is_file()]
        assert {"ledger.db-wal", "raft.log.000001", "pepper.key"} <= {path.name for path in files}
        for path in files:
            content = path.read_bytes()
            assert PIN.encode() not in content, path
            assert PIN[::-1].encode() not in content, path


# -- the pepper ------------------------------------------------------------------------------------


def test_a_missing_pepper_is_not_made_where_others_may_have_one(tmp_path: Path) -> None:
    path = tmp_path / "pepper.key"
    with pytest.raises(PepperRefused, match="make it once and copy it to all") as refused:
        read_peppers(path, may_make=lambda: False)
    assert "\n" not in str(refused.value)
    assert not path.exists()


def test_a_pepper_that_another_server_makes_at_that_moment_is_used(tmp_path: Path) -> None:
    path = tmp_path / "pepper.key"

    def made_by_another() -> bool:
        path.write_bytes(new_peppers().contents())
        return False

    assert len(read_peppers(path, may_make=made_by_another).names) == 1


def test_a_pepper_is_made_once_by_many_who_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pepper.key"
    count = 16
    together = Barrier(count, timeout=DEADLINE_S)

    def start(_: int) -> str:
        together.wait()
        return read_peppers(path).names[0]

    with ThreadPoolExecutor(count) as pool:
        peppers = set(pool.map(start, range(count)))
    assert peppers == {read_peppers(path).names[0]}
    assert [file.name for file in path.parent.iterdir()] == ["pepper.key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_bank_has_a_pepper_of_its_own(tmp_path: Path) -> None:
    one, other = read_peppers(tmp_path / "one.key"), read_peppers(tmp_path / "other.key")
    assert one.names != other.names


def test_a_pepper_that_was_copied_with_a_line_end_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "pepper.key"
    pepper = read_peppers(path).names
    path.write_text(path.read_text() + "\n")
    assert read_peppers(path).names == pepper


@pytest.mark.parametrize(
    "content", [b"", b"0" * 62, b"0" * 66, b"g" * 64, b"\xff" * 64, bytes(PEPPER_BYTES)], ids=repr
)
def test_a_damaged_pepper_is_one_line_and_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pepper.key"
    path.write_bytes(content)
    with pytest.raises(PepperRefused, match=r"pepper\.key is damaged: copy it") as refused:
        read_peppers(path)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o604, 0o660])
def test_a_pepper_that_other_users_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Part of trial H8: release 1.1.0 (e233312) used one of mode 0666 without a word."""
    path = tmp_path / "pepper.key"
    read_peppers(path)
    path.chmod(mode)
    with pytest.raises(PepperRefused, match=rf"other users can read .* \(mode {mode:04o}\): chmod 600"):
        read_peppers(path)


def test_a_pepper_of_root_that_a_service_manager_shows_to_roots_group_is_used(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pepper.key"
    pepper = read_peppers(path).names
    path.chmod(0o440)
    if path.stat().st_uid != 0 or path.stat().st_gid != 0:
        with pytest.raises(PepperRefused):
            read_peppers(path)
    else:
        assert read_peppers(path).names == pepper


def test_a_pepper_that_cannot_be_read_or_made_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "pepper.key"
    folder.mkdir()
    (tmp_path / "file").touch()
    for path in (folder, tmp_path / "file" / "pepper.key"):
        with pytest.raises(PepperRefused, match="cannot use the pepper") as refused:
            read_peppers(path)
        assert "\n" not in str(refused.value)


def test_a_pepper_that_was_not_finished_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pepper.key"

    def fail(_descriptor: int) -> None:
        raise OSError("planned")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(PepperRefused):
            read_peppers(path)
    assert list(tmp_path.iterdir()) == []
    assert len(read_peppers(path).names) == 1


def test_requests_on_the_wire_allow_a_sealed_pin_only_where_servers_talk() -> None:
    """The decoder accepts both: clients' connections refuse sealed ones, peers' connections plain ones."""
    for pin, plain in (("1234", True), (seal_of("1234"), False)):
        request = decode_client_request(encode({"op": "login", "id": "l", "account": "ann", "pin": pin}))
        assert holds_plain_pin(request) is plain


def test_every_kind_of_request_with_a_pin_is_looked_into() -> None:
    with_pin = {
        kind for kind in get_args(ClientRequest) if {"pin", "old_pin", "legs"} & set(kind.__struct_fields__)
    }
    assert with_pin == PIN_HOLDERS
