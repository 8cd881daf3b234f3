"""Every field of every request has its limits; what passes decoding is well formed."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    GENERATIONS_MAX,
    HOLD_MS_MAX,
    LEGS_MAX,
    PAGE_LINES_MAX,
    Command,
    Expire,
    Line,
    Outcome,
    Read,
    Reseal,
)
from atm.wire.client_messages import ClientRequest, Reply, Status, decode_client_reply
from atm.wire.codec import Malformed, encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX
from atm.wire.log_entries import command_data, decode_command
from atm.wire.request_decoding import decode_client_request, decode_forwardable

SEALED = "0123456789abcdef" * 4
LEG = {"account": "ann", "target": "bob", "amount": 1}
ACCOUNT = {"account": "ann"}
MONEY = {"account": "ann", "amount": 1}
REMARK = {"code": 7, "text": "rent"}

# The fields that each request needs, and the optional ones.
REQUESTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "credit": (MONEY, REMARK),
    "debit": (MONEY, {"pin": "1234", "all": False} | REMARK),
    "transfer": (MONEY | {"target": "bob"}, {"pin": "1234", "all": False} | REMARK),
    "batch": ({"legs": [LEG]}, REMARK),
    "hold": (MONEY | {"expires_ms": 1}, {"pin": SEALED} | REMARK),
    "raise_hold": (MONEY | {"hold": "h1"}, {"pin": SEALED}),
    "post": ({"hold": "h1"}, {"amount": 1, "final": True} | REMARK),
    "void": ({"hold": "h1"}, {}),
    "reverse": ({"original": "c1"}, {"amount": 1} | REMARK),
    "write_off": (MONEY, REMARK),
    "open": (ACCOUNT, {}),
    "freeze": (ACCOUNT, {}),
    "unfreeze": (ACCOUNT, {}),
    "close": (ACCOUNT, {}),
    "set_pin": (ACCOUNT | {"pin": "1234"}, {"old_pin": "123456789012"}),
    "login": (ACCOUNT | {"pin": "1234"}, {}),
    "unlock": (ACCOUNT, {}),
    "reset_pin": (ACCOUNT, {}),
    "set_limit": (ACCOUNT, {"amount": 1, "transfers": False}),
    "set_ceiling": (ACCOUNT, {"amount": 1}),
    "query": (ACCOUNT, {"at_us": 0}),
    "statement": (ACCOUNT, {"limit": 1, "before": 0}),
    "lookup": ({"request_id": "c1"}, {}),
    "exceptions": ({}, {"limit": 1, "before": 0}),
    "find": ({}, REMARK | {"whole": False, "limit": 1, "before": 0}),
    "accounts": ({}, {"limit": 1, "after": "ann"}),
    "holds": ({"account": "ann"}, {"limit": 1, "after_hold": "h1"}),
    "watch": ({}, {"limit": 1, "after": 1}),
    "grant_role": ({"name": "ann", "role": "teller"}, {}),
    "revoke_role": ({"name": "ann"}, {"role": "teller"}),
    "set_approval_limit": ({"limited": "write_off"}, {"amount": 1}),
    "approve": ({"request": "w1"}, {}),
    "roles": ({}, {"limit": 1, "after_name": "ann"}),
    "approvals": ({}, {"limit": 1, "before": 0}),
    "deeds": ({}, {"limit": 1, "before": 0}),
    "rotate_pepper": ({"generation": 2, "pepper": "0123456789abcdef"}, {}),
    "pepper": ({}, {}),
    "status": ({}, {}),
}
SAY_AMOUNTS = (
    *("credit", "debit", "transfer", "batch", "hold", "post", "reverse", "write_off"),
    *("open", "raise_hold", "set_limit", "set_ceiling"),
)
for op in SAY_AMOUNTS:
    REQUESTS[op][1]["currency"] = "EUR"
for _, more in REQUESTS.values():
    more["end_user"] = "eve"  # of every request

NO_TEXT: list[Any] = [7, None, True, b"ann", ["ann"], {"ann": 1}]
NO_NAME = ["", "x" * 65, "two words", "ends\n", "a\x00b", "é", "\u202eann", *NO_TEXT]
NO_NUMBER: list[Any] = [1.0, True, "1", None, [1], b"1"]
WRONG: dict[str, list[Any]] = {
    "id": NO_NAME,
    "account": [*NO_NAME, "-x", ".x", "a/b", "a b", "'; drop table balance; --"],
    "target": [*NO_NAME, "-x", "ann"],
    "amount": [0, -1, AMOUNT_MINOR_MAX + 1, 2**64 - 1, *NO_NUMBER],
    "expires_ms": [0, -1, HOLD_MS_MAX + 1, *NO_NUMBER],
    "hold": NO_NAME,
    "original": [*NO_NAME, "x1"],
    "request_id": NO_NAME,
    "pin": ["123", "1" * 13, "12a4", "١٢٣٤", "1234\n", SEALED[1:], SEALED + "0", SEALED.upper(), *NO_TEXT],
    "limit": [0, -1, PAGE_LINES_MAX + 1, *NO_NUMBER],
    "before": [-1, 2**63, *NO_NUMBER],
    "at_us": [-1, 2**62 + 1, *NO_NUMBER],
    "legs": [[], [LEG] * (LEGS_MAX + 1), LEG, "ann", None, [None], [[*LEG.values()]]],
}
WRONG["final"] = [0, 1, "no", None, [True]]
# Then all of them need an approval; and nothing of the hold is paid out.
WITH_NOTHING = [("set_approval_limit", "amount", 0), ("post", "amount", 0)]
WRONG["name"] = ["x" * 33, "-x", ".x", "a/b", "local", "bank", *NO_NAME]
WRONG["posting"] = WRONG["before"]
WRONG["after_name"] = ["x" * 33, "-x", *NO_NAME]
WRONG["after_hold"] = [name for name in NO_NAME if name is not None]
WRONG["limited"] = ["credit", "", "Write_off", *NO_TEXT]
WRONG["request"] = [*NO_NAME, "x1"]
WRONG["role"] = ["node", "", "root", "Teller", *NO_TEXT]
WRONG["end_user"] = ["x" * 32, "-x", ".x", "a/b", *NO_NAME]
WRONG["pin"] += [f"1:{SEALED}", f"02:{SEALED}", f"100:{SEALED}", f":{SEALED}", "2:1234", f"2:{SEALED}0"]
WRONG["old_pin"] = WRONG["pin"]
WRONG["generation"] = [1, 0, -2, GENERATIONS_MAX + 1, *NO_NUMBER]
WRONG["pepper"] = ["", "f" * 15, "f" * 17, "F" * 16, "f" * 16 + "\n", *NO_TEXT]
WRONG["currency"] = ["eur", "EU", "EURO", "E1R", "EUR\n", "", *(each for each in NO_TEXT if each is not None)]
WRONG["code"] = [0, -1, 65_536, *NO_NUMBER]
WRONG["text"] = ["", " a", "a ", "x" * 141, "ends\n", "a\x00b", "\u202eann", *NO_TEXT]
WRONG["whole"] = [0, 1, "true", None, []]
WRONG["all"] = [True, 0, 1, "true", None, []]
WRONG["transfers"] = [0, 1, "true", None, []]
WRONG["after"] = [name for name in WRONG["account"] if name is not None]
LARGEST: dict[str, list[Any]] = {
    "id": ["x" * 64, "!", "~"],
    "account": ["x" * 64, "A.b-c_9", "cash"],
    "target": ["x" * 64, "0"],
    "amount": [AMOUNT_MINOR_MAX],
    "expires_ms": [HOLD_MS_MAX],
    "hold": ["x" * 64],
    "final": [True, False],
    "original": ["x" * 64],
    "request_id": ["x" * 64],
    "pin": ["1234", "1" * 12, SEALED, f"2:{SEALED}", f"{GENERATIONS_MAX}:{SEALED}"],
    "old_pin": ["1234", "1" * 12, SEALED, f"2:{SEALED}"],
    "generation": [GENERATIONS_MAX],
    "pepper": ["0" * 16],
    "currency": ["EUR", "JPY", "CLF"],
    "name": ["x" * 32, "_", "A.b-c_9"],
    "limited": ["write_off", "reverse", "unlock", "reset_pin"],
    "request": ["x" * 64],
    "role": ["admin", "auditor", "gateway", "operator", "teller"],
    "after_name": ["x" * 32, "_"],
    "after_hold": ["x" * 64, "!", "~"],
    "end_user": ["x" * 31, "_", "A.b-c_9"],
    "limit": [PAGE_LINES_MAX],
    "before": [2**63 - 1],
    "posting": [2**63 - 1],
    "after": ["x" * 64, "A.b-c_9", "cash"],
    "at_us": [2**62],
    "transfers": [True],
    "all": [False],
    "whole": [True],
    "code": [65_535],
    "text": ["x" * 140, "Miete für die Wohnung", "家賃"],
    "legs": [[LEG] * LEGS_MAX],
}
OPTIONAL = {
    "currency",
    "end_user",
    "role",
    "after_name",
    "after_hold",
    "pin",
    "old_pin",
    "amount",
    "before",
    "after",
    "at_us",
    "code",
    "text",
}  # None means absent


def whole(op: str) -> dict[str, Any]:
    needed, more = REQUESTS[op]
    return {"op": op, "id": "x1", **needed, **more}


def decoded(fields: dict[str, Any]) -> ClientRequest:
    return decode_client_request(encode(fields))


CASES = [(op, name) for op in REQUESTS for name in whole(op) if name != "op"]


def test_the_table_knows_every_request_and_every_field() -> None:
    kinds = {
        str(kind.__struct_config__.tag): set(kind.__struct_fields__)
        for kind in (*get_args(Command), *get_args(Read), Status)
    }
    assert {op: set(whole(op)) - {"op"} for op in REQUESTS} == kinds


@pytest.mark.parametrize("op", REQUESTS)
def test_a_request_with_all_it_may_say_survives_the_wire(op: str) -> None:
    needed, _ = REQUESTS[op]
    least = needed | ({"code": 7} if op == "find" else {})  # or a text
    for fields in (whole(op), {"op": op, "id": "x1", **least}):
        request = decoded(fields)
        assert decode_client_request(encode(request)) == request
        for name, value in fields.items():
            if name not in {"op", "legs"}:
                assert getattr(request, name) == value


@pytest.mark.parametrize(("op", "name"), CASES)
def test_a_field_takes_its_largest_and_nothing_beyond(op: str, name: str) -> None:
    rules = "posting" if (op, name) == ("watch", "after") else name  # a number, no account
    for value in LARGEST[rules]:
        assert encode(decoded(whole(op) | {name: value}))
    for value in WRONG[rules]:
        if (op, name, value) in WITH_NOTHING:
            assert encode(decoded(whole(op) | {name: 0}))
            continue
        if value is None and name in REQUESTS[op][1] and rules in OPTIONAL:
            assert encode(decoded(whole(op) | {name: None}))
            continue
        with pytest.raises(Malformed):
            decoded(whole(op) | {name: value})


@pytest.mark.parametrize("amount", [{}, {"amount": None}, {"amount": 0}])
def test_a_posting_that_is_not_final_needs_an_amount(amount: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decoded({"op": "post", "id": "x1", "hold": "h1", "final": False, **amount})


@pytest.mark.parametrize(("op", "name"), [(op, name) for op in REQUESTS for name in REQUESTS[op][0]])
def test_a_missing_field_is_refused(op: str, name: str) -> None:
    fields = whole(op)
    del fields[name]
    with pytest.raises(Malformed):
        decoded(fields)


@pytest.mark.parametrize("op", REQUESTS)
def test_a_field_too_many_is_refused(op: str) -> None:
    for name in ("amount_minor", "time_us", "leader", ""):
        with pytest.raises(Malformed):
            decoded(whole(op) | {name: 1})


@pytest.mark.parametrize("name", LEG)
def test_a_leg_has_the_limits_of_a_transfer(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(Malformed):
            decoded(whole("batch") | {"legs": [LEG, LEG | {name: value}]})
    with pytest.raises(Malformed):
        decoded(whole("batch") | {"legs": [LEG | {"id": "x2"}]})
    with pytest.raises(Malformed):
        decoded(whole("batch") | {"legs": [LEG | {"pin": "123"}]})


def test_a_command_that_only_a_leader_proposes_is_refused_from_clients_and_peers() -> None:
    expire = encode(Expire())
    assert decode_command(command_data("bank", expire)).command == Expire()
    assert expire == encode({"op": "expire"}), "release 1.1 knows no other"
    limited = decode_command(command_data("bank", encode(Expire(limit=500)))).command
    assert limited == Expire(limit=500)
    reseal = Reseal(generation=2, seals=(("ann", f"2:{SEALED}"),), receipts=("c1",), done=True)
    assert decode_command(command_data("bank", encode(reseal))).command == reseal
    for wrong in (("ann", SEALED), ("ann", "1234"), ("ann", f"1:{SEALED}"), ("ann", f"100:{SEALED}")):
        with pytest.raises(Malformed):
            decode_command(command_data("bank", encode(Reseal(generation=2, seals=(wrong,)))))
    with pytest.raises(Malformed):
        decode_command(command_data("bank", encode({"op": "expire", "limit": 0})))
    for decode in (decode_client_request, decode_forwardable):
        for payload in (expire, encode(reseal), encode({"op": "expire", "id": "x"})):
            with pytest.raises(Malformed):
                decode(payload)


@pytest.mark.parametrize("op", ["query", "statement", "lookup", "exceptions", "status"])
def test_a_read_is_no_command_for_the_log(op: str) -> None:
    with pytest.raises(Malformed):
        decode_command(command_data("local", encode(whole(op))))
    if op == "status":
        with pytest.raises(Malformed):
            decode_forwardable(encode(whole(op)))


def test_the_largest_request_and_the_longest_page_fit_a_frame() -> None:
    longest = "x" * 64
    leg = {"account": longest, "target": "y" * 64, "amount": AMOUNT_MINOR_MAX, "pin": SEALED}
    batch = encode({"op": "batch", "id": longest, "legs": [leg] * LEGS_MAX})
    assert encode(decode_client_request(batch)) == batch
    assert len(batch) < CLIENT_FRAME_BYTES_MAX
    number = -(2**63)
    line = Line(
        posting=number,
        time_us=number,
        op="write_off",
        request_id=longest,
        account=longest,
        other=longest,
        amount=number,
        balance=number,
        exception="written_off",
    )
    page = Reply(id=longest, outcome=Outcome.OK, balance=number, lines=(line,) * PAGE_LINES_MAX)
    assert decode_client_reply(encode(page)) == page
    assert len(encode(page)) < CLIENT_FRAME_BYTES_MAX


@given(op=st.sampled_from(list(REQUESTS)), data=st.data())
def test_junk_in_any_place_is_a_request_or_malformed(op: str, data: st.DataObject) -> None:
    junk = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
    name = data.draw(st.sampled_from(list(whole(op))))
    with contextlib.suppress(Malformed):
        request = decoded(whole(op) | {name: data.draw(junk)})
        assert decode_client_request(encode(request)) == request


@given(op=st.sampled_from(list(REQUESTS)), data=st.data())
def test_a_request_with_one_changed_byte_is_a_request_or_malformed(op: str, data: st.DataObject) -> None:
    payload = bytearray(msgspec.msgpack.encode(whole(op)))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    for decode in (decode_client_request, decode_forwardable, decode_command):
        with contextlib.suppress(Malformed):
            decode(bytes(payload))
