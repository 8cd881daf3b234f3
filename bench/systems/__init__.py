"""The systems that are measured, a module each behind `bench.systems.system.System`."""

from __future__ import annotations

from bench.systems.atm import Atm
from bench.systems.atm_on_postgresql import AtmOnPostgreSQL
from bench.systems.etcd import Etcd
from bench.systems.limit import Limit, Majority
from bench.systems.postgresql import PostgreSQL, Serializable
from bench.systems.pysyncobj import PySyncObj
from bench.systems.sqlite import Sqlite
from bench.systems.system import System
from bench.systems.tigerbeetle import TigerBeetle

PEERS: dict[str, type[System]] = {
    system.name: system
    for system in (
        AtmOnPostgreSQL,
        Etcd,
        PostgreSQL,
        Serializable,
        TigerBeetle,
        PySyncObj,
        Sqlite,
        Limit,
        Majority,
    )
}

__all__ = ["PEERS", "Atm", "System"]
