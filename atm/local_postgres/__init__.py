"""Real PostgreSQL servers on this machine; for tests, measurements and `--engine postgresql` of bin/run.

    from atm.local_postgres import LocalPostgres, why_no_postgres

    with LocalPostgres(standbys=2) as servers:      # p1 is the primary; p2 and p3 are its standbys
        driver.connect(servers.uri())               # of the primary; servers.uri("p2") is of a standby
        servers.query("p1", "select 1")             # by psql, without a driver: rows as text
        servers.kill("p1")                          # SIGKILL of the server and of all its processes
        servers.promote()                           # the standby that has most; the others follow it
        servers.rejoin("p1")                        # the old primary, as a standby with a new copy of all

`freeze`, `resume`, `stop` and `start` do to one server what their names say. A commit is acknowledged once a
majority of the servers has it on disk: `synchronous_commit = on`, `fsync = on`,
`synchronous_standby_names = 'ANY k (…)'`. Tests ask `why_no_postgres()` first and skip with its line, loudly.

The servers listen on free loopback ports and on a socket in a private folder, and ask for a password that is
new each time and stands in the URI. They end with their starter, however that ends; so does their folder,
unless the caller named one. PostgreSQL refuses to run as root: as root they run as the user `postgres`, or
else `nobody`, and the folder that the caller named must be within that user's reach.
"""

from __future__ import annotations

from atm.local_postgres.folders import NotStarted
from atm.local_postgres.programs import NoPostgres, Programs, find_programs, why_no_postgres
from atm.local_postgres.servers import LocalPostgres

__all__ = ["LocalPostgres", "NoPostgres", "NotStarted", "Programs", "find_programs", "why_no_postgres"]
