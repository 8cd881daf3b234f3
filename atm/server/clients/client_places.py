"""The places of clients: some are reserved for operators, who get in however many clients there are."""

from __future__ import annotations

from typing import get_args

from atm.identity import LOCAL_IDENTITY, Identity, Role
from atm.server.net.places import Place, Places
from atm.wire.client_messages import AdminChange, ClientRequest, Events, Members, Status, TakeSnapshot

RESERVED = 16  # besides all others
FIRST_REQUEST_S = 60.0
OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
OPERATORS_REQUESTS = (Status, Members, Events, TakeSnapshot, *get_args(AdminChange))


class ClientPlaces(Places):
    """As many as there may be clients, and those that are reserved.

    Whoever finds no other place gets a reserved one, and keeps it only if he turns out to be an operator: by
    his identity, or, as without TLS everybody has the same, by what he asks.
    """

    def __init__(self, count_max: int) -> None:
        super().__init__(count_max, of_one_max=max(1, count_max // 2), new_s_max=FIRST_REQUEST_S)
        self._reserved = Places(RESERVED, new_s_max=FIRST_REQUEST_S)

    def take(self, owner: str) -> Place | None:
        return super().take(owner) or self._reserved.take(owner)

    def make_room(self) -> bool:
        return super().make_room() or self._reserved.make_room()

    def look(self) -> None:
        super().look()
        self._reserved.look()

    def may_ask(self, place: Place, identity: Identity, request: ClientRequest) -> bool:
        """Return whether the connection in `place` may send this request."""
        if place.pool is not self._reserved:
            return True
        if identity is not LOCAL_IDENTITY and identity.roles & OPERATORS:
            return True
        return isinstance(request, OPERATORS_REQUESTS)
