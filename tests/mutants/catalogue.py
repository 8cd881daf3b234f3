"""All mutants there are."""

from __future__ import annotations

from tests.mutants.admin import ADMIN
from tests.mutants.approvals import APPROVALS
from tests.mutants.backup import BACKUP
from tests.mutants.bank import BANK
from tests.mutants.bank_rules import BANK_RULES
from tests.mutants.bulk import BULK
from tests.mutants.client import CLIENT
from tests.mutants.core import CORE
from tests.mutants.core_members import CORE_MEMBERS
from tests.mutants.core_snapshot import CORE_SNAPSHOT
from tests.mutants.crossings import CROSSINGS
from tests.mutants.currencies import CURRENCIES
from tests.mutants.deeds import DEEDS
from tests.mutants.details import DETAILS
from tests.mutants.diagnosis import DIAGNOSIS
from tests.mutants.durability import DURABILITY
from tests.mutants.elections import ELECTIONS
from tests.mutants.events import EVENTS
from tests.mutants.files import FILES
from tests.mutants.folders import FOLDERS
from tests.mutants.foreign import FOREIGN
from tests.mutants.forged import FORGED
from tests.mutants.format import FORMAT
from tests.mutants.guards import GUARDS
from tests.mutants.install import INSTALL
from tests.mutants.lanes import LANES
from tests.mutants.learn import LEARN
from tests.mutants.lines import LINES
from tests.mutants.local_postgres import LOCAL_POSTGRES
from tests.mutants.members import MEMBERS
from tests.mutants.metrics import METRICS
from tests.mutants.parts import PARTS
from tests.mutants.peppers import PEPPERS
from tests.mutants.permissions import PERMISSIONS
from tests.mutants.pins import PINS
from tests.mutants.quotas import QUOTAS
from tests.mutants.reads import READS
from tests.mutants.registry import REGISTRY
from tests.mutants.replication import REPLICATION
from tests.mutants.run_loop import RUN_LOOP
from tests.mutants.session import SESSION
from tests.mutants.snapserver import SNAPSERVER
from tests.mutants.storage import STORAGE
from tests.mutants.strangers import STRANGERS
from tests.mutants.survivors import SURVIVORS
from tests.mutants.teller import TELLER
from tests.mutants.tls import TLS
from tests.mutants.web import WEB

MUTANTS = (
    *ELECTIONS,
    *EVENTS,
    *REPLICATION,
    *CORE,
    *CORE_MEMBERS,
    *CORE_SNAPSHOT,
    *READS,
    *DURABILITY,
    *FOLDERS,
    *FILES,
    *STORAGE,
    *SNAPSERVER,
    *FORGED,
    *FORMAT,
    *GUARDS,
    *INSTALL,
    *LANES,
    *DIAGNOSIS,
    *CROSSINGS,
    *METRICS,
    *MEMBERS,
    *BANK,
    *BANK_RULES,
    *PARTS,
    *PINS,
    *PEPPERS,
    *PERMISSIONS,
    *DEEDS,
    *APPROVALS,
    *CURRENCIES,
    *DETAILS,
    *REGISTRY,
    *RUN_LOOP,
    *STRANGERS,
    *SURVIVORS,
    *TELLER,
    *SESSION,
    *ADMIN,
    *BACKUP,
    *TLS,
    *BULK,
    *CLIENT,
    *QUOTAS,
    *LINES,
    *FOREIGN,
    *WEB,
    *LEARN,
    *LOCAL_POSTGRES,
)

# Random runs hardly ever show these: each needs a scripted test, whatever the simulation finds.
NEARLY_INVISIBLE = (
    "older term committed by counting",
    "vote not saved",
    "acknowledgements of old terms counted",
    "own last index acknowledged",
    "committed past what matched",
    "vote kept across terms",
    "no no-op",
)
