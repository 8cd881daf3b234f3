"""What must hold between the ledger's tables, each as a query for what breaks it and a line that says so."""

from __future__ import annotations

from typing import NamedTuple, get_args

from atm.ledger.commands import NotedOp
from atm.permissions import DEEDS


class Check(NamedTuple):
    """`line` is filled with each row that `sql` finds: there is none in a sound ledger."""

    line: str
    sql: str


def said(table: str, key: str) -> str:
    """Return the SQL of what the details of a receipt say under a key, null if they are no JSON."""
    return f"iif(json_valid({table}.details), json_extract({table}.details, '$.{key}'), null)"


# Goes before each query: all reversals, and of those beside the first how much was taken back with them.
EVERY_REVERSAL = "with every_reversal as (select original, reversal, null as taken_back from reversal) "
EVERY_REVERSAL_OF_LEVEL_2 = """with every_reversal as (
    select original, reversal, null as taken_back from reversal
    union all select original, reversal, taken_back from refund) """

CHECKS = (
    Check(  # the schema's CHECK constraints: SQLite skips them for a read-only connection
        "{0}: its value breaks a constraint of the schema: {1}",
        """select 'posting ' || posting, amount || ' from ' || debit_account || ' to ' || credit_account
        from journal where amount <= 0 or debit_account = credit_account
        union all
        select 'balance of ' || account, amount from balance
        where account not in ('cash', 'writeoff') and abs(amount) > 9007199254740991
        union all
        select 'account ' || account, state || ' and ' || held || ' held' from account
        where state not in ('open', 'frozen', 'closed') or held < 0
        union all
        select 'hold ' || request_id, state || ' and ' || amount from hold
        where state not in ('active', 'posted', 'voided', 'expired') or amount <= 0
        union all
        select 'exception at posting ' || posting, kind from exception
        where kind not in ('late', 'overdrawn', 'written_off')""",
    ),
    Check(
        "all balances add up to {0}, not to 0",
        "select sum(amount) from balance having sum(amount) is not 0",
    ),
    Check(
        "account {0}: it has a balance and is neither the bank's own nor known",
        """select balance.account from balance left join account using (account)
        where opened_us is null and account not in ('cash', 'writeoff') and instr(account, ':') = 0""",
    ),
    Check(
        "account {0}: {1} is held, but its active holds add up to {2}",
        """select account, held, coalesce(total, 0) from account left join
            (select account, sum(amount - posted) as total from hold where state = 'active' group by account)
            using (account)
        where held is not coalesce(total, 0)""",
    ),
    Check(
        "account {0}: it is closed with a balance of {1} and {2} held",
        """select account, amount, held from account join balance using (account)
        where state = 'closed' and (amount <> 0 or held <> 0)""",
    ),
    Check(
        "account {0}: its balance is {1}, and no exception explains it",
        """select account, amount from balance where amount < 0 and account not in ('cash', 'writeoff')
        and instr(account, ':') = 0 and account not in
            (select debit_account from exception join journal using (posting) where kind = 'overdrawn')""",
    ),
    Check(
        "hold {0}: it is {1}, its amount is {2}, and {3} is recorded as paid out",
        """select request_id, state, amount, posted from hold
        where state = 'posted' and posted = 0 or state = 'active' and posted = amount
        or posted > amount or posted < 0""",
    ),
    Check(
        "hold {0}: {1} is recorded as paid out, and its postings add up to {2}",
        f"""select request_id, posted, coalesce(paid, 0) from hold left join
            (select iif(op = 'post', {said("receipt", "hold")}, receipt.request_id) as hold_id,
                sum(journal.amount) as paid from receipt
            join journal on posting = receipt.log_index * 64 and journal.request_id = receipt.request_id
            where op in ('post', 'transfer', 'reverse', 'approve') group by hold_id)
            on hold_id = request_id
        where posted is not coalesce(paid, 0)""",
    ),
    Check(
        "hold {0}: its receipt says {1} {2} of {3}, and it was raised by {4}",
        f"""select hold.request_id, op, outcome, receipt.amount, coalesce(more, 0)
        from hold join receipt using (request_id) left join
            (select {said("receipt", "hold")} as hold_id, sum(amount) as more from receipt
            where op = 'raise_hold' and outcome = 'ok' group by hold_id)
            on hold_id = hold.request_id
        where op not in ('hold', 'transfer', 'reverse', 'approve')
        or op in ('hold', 'transfer') and receipt.account is not hold.account
        or op = 'hold' and (outcome <> 'ok' or receipt.amount + coalesce(more, 0) is not hold.amount
            or receipt.time_us <> hold.time_us)
        or op <> 'hold' and (state is not iif(outcome = 'ok', 'posted', 'voided')
            or receipt.time_us < hold.time_us or coalesce(receipt.amount, hold.amount) <> hold.amount)""",
    ),
    Check(
        "posting {0} (log entry {1}): it differs from the receipt of its request {2}",
        f"""select posting, journal.log_index, request_id from journal join receipt using (request_id)
        where outcome <> 'ok' or receipt.log_index <> journal.log_index or receipt.time_us <> journal.time_us
        or op in ('credit', 'debit', 'transfer', 'write_off', 'arrive') and (
            journal.amount is not iif({said("receipt", "all")} is 1, journal.amount, receipt.amount)
            or receipt.account is not
                iif(op in ('credit', 'write_off', 'arrive'), credit_account, debit_account))""",
    ),
    Check(
        "receipt of {0}: its {1} is ok, but the journal has no such posting in log entry {2}",
        """select receipt.request_id, op, receipt.log_index from receipt
        left join journal on posting = receipt.log_index * 64 and journal.request_id = receipt.request_id
        where op in ('credit', 'debit', 'transfer', 'batch', 'post', 'reverse', 'write_off', 'arrive')
        and outcome = 'ok' and posting is null and not (op = 'post' and receipt.amount is 0)
        and receipt.request_id not in
            (select reversal from reversal join hold on original = hold.request_id)""",
    ),
    Check(
        "hold {0}: it was reversed by {1}, and is {2}",
        """select original, reversal, state from reversal join hold on original = request_id
        where state <> 'voided'""",
    ),
    Check(
        "posting {0} (log entry {1}): it moves money for {2}, which released the hold {3}",
        """select posting, log_index, reversal, original from reversal join hold on original = hold.request_id
        join journal on journal.request_id = reversal""",
    ),
    Check(
        "reversal of {0}: the receipt of {1} says {2} of {3}, {4}",
        f"""select original, reversal, op, details, outcome from every_reversal
        join receipt on reversal = receipt.request_id
        where outcome <> 'ok' or original is not case op
            when 'reverse' then {said("receipt", "original")}
            when 'approve' then (select {said("asked", "original")} from receipt as asked
                where asked.request_id = {said("receipt", "request")} and asked.op = 'reverse') end""",
    ),
    Check(
        "receipt of {0}: its reversal of {1} is ok, but it is not among the reversals",
        """select request_id, details from receipt
        where op = 'reverse' and outcome = 'ok'
        and request_id not in (select reversal from every_reversal)""",
    ),
    Check(
        "{0}: it moved {1}, and its reversals {2}",
        """select original, moved, back from
            (select original, (select sum(amount) from journal where posting
                between receipt.log_index * 64 and receipt.log_index * 64 + 63) as moved
            from reversal join receipt on original = receipt.request_id)
        join
            (select original, sum(journal.amount) as back from every_reversal
            join receipt on reversal = receipt.request_id
            join journal on posting between receipt.log_index * 64 and receipt.log_index * 64 + 63
            group by original)
            using (original)
        where back > moved""",
    ),
    Check(
        "{0}: it refers to log entry {1}, but the last applied one is {2}",
        """select 'the journal', max(log_index), (select log_index from applied) from journal
        having max(log_index) > (select log_index from applied)
        union all
        select 'receipt of ' || request_id, log_index, (select log_index from applied) from receipt
        where log_index > (select log_index from applied)""",
    ),
)

# Of refunds and raised holds, which a ledger has from feature level 2 on.
PARTS_CHECKS = (
    Check(
        "refund of {0} by {1}: {2} is recorded as taken back so far, and the reversals add up to {3}",
        """select original, reversal, taken_back, so_far from
            (select original, reversal, taken_back,
                sum(journal.amount) over (partition by original order by receipt.log_index) as so_far
            from every_reversal join receipt on reversal = receipt.request_id
            join journal on posting = receipt.log_index * 64)
        where taken_back <> so_far""",
    ),
    Check(
        "raised hold {0}: {1} of it counts since {2}, and it was raised last at {3}",
        f"""select hold_id, counted, counted_us, last_us from
            (select {said("receipt", "hold")} as hold_id, max(time_us) as last_us from receipt
            where op = 'raise_hold' and outcome = 'ok' group by hold_id)
        left join raised_hold on raised_hold.hold = hold_id left join hold on request_id = hold_id
        where counted_us is not last_us or counted not between 1 and amount""",
    ),
    Check(
        "raised hold {0}: no request raised it",
        f"""select hold from raised_hold where hold not in
            (select {said("receipt", "hold")} from receipt where op = 'raise_hold' and outcome = 'ok')""",
    ),
)

NOTED = ", ".join(f"'{op}'" for op in get_args(NotedOp))

# Of the record of deeds, which a ledger has from feature level 2 on.
DEED_CHECKS = (
    Check(
        "deed {0}: its receipt says {1} by {2}, {3}",
        """select deed, receipt.op, receipt.actor, receipt.outcome from deed join receipt using (request_id)
        where deed = receipt.log_index and (deed.op <> receipt.op or deed.actor <> receipt.actor
            or deed.outcome <> receipt.outcome or deed.amount is not receipt.amount
            or deed.time_us <> receipt.time_us)""",
    ),
    Check(
        "deed {0}: there is no receipt of its {1}",
        f"""select deed, op from deed where op not in ({NOTED})
        and not exists (select 1 from receipt where receipt.request_id = deed.request_id)""",
    ),
    Check(
        "node {0}: log entry {1} {2} it, and is no deed",
        """select node, since, iif(voter, 'made a voter of', 'made a learner of') from member
        where since > 0 and since not in (select deed from deed)
        union all
        select node, log_index, 'removed' from removed where log_index not in (select deed from deed)""",
    ),
    Check(
        "receipt of {0}: its {1} is no deed",
        f"""select request_id, op from receipt where op in ({", ".join(f"'{op}'" for op in sorted(DEEDS))})
        and log_index > (select min(deed) from deed) and log_index not in (select deed from deed)
        and outcome <> 'already_reversed'""",
    ),
)

# Of requests that needed an approval, likewise. A day of log time is the longest that one may wait; what goes
# to another lane was approved when its amount was held.
APPROVAL_CHECKS = (
    Check(
        "approval of {0}: its receipt says {1} by {2}, {3}",
        """select request_id, op, actor, outcome from approval join receipt using (request_id)
        where outcome <> 'needs_approval' or actor <> asked_by or time_us <> asked_us
        or op not in ('write_off', 'reverse', 'unlock', 'reset_pin')""",
    ),
    Check(
        "receipt of {0}: its {1} needs an approval, and is not among those that do",
        """select request_id, op from receipt
        where outcome = 'needs_approval' and request_id not in (select request_id from approval)""",
    ),
    Check(
        "approval of {0}: the receipt of {1} says {2} of {3}, {4}",
        f"""select approval.request_id, approved_by, op, details, outcome from approval
        join receipt on approved_by = receipt.request_id
        where op <> 'approve' or outcome <> 'ok'
        or {said("receipt", "request")} is not approval.request_id""",
    ),
    Check(
        "approval of {0}: {1} asked for it, and {2} approved it",
        """select approval.request_id, asked_by, actor from approval
        join receipt on approved_by = receipt.request_id
        where substr(actor || '/', 1, instr(actor || '/', '/'))
            = substr(asked_by || '/', 1, instr(asked_by || '/', '/'))""",
    ),
    Check(
        "approval of {0}: it was asked for at {1} and approved at {2}",
        """select approval.request_id, asked_us, coalesce(hold.time_us, receipt.time_us) as approved_us
        from approval join receipt on approved_by = receipt.request_id
        left join hold on approved_by = hold.request_id
        where approved_us not between asked_us + 1 and asked_us + 86400000000""",
    ),
    Check(
        "receipt of {0}: its approval of {1} is ok, but it is not among the approvals",
        """select request_id, details from receipt where op = 'approve' and outcome = 'ok'
        and request_id not in (select approved_by from approval where approved_by is not null)""",
    ),
    Check(
        "approval of {0}: the {1} that {2} carried out is not in the journal as it was asked",
        """select asked.request_id, asked.op, approved_by from approval
        join receipt as asked using (request_id) join receipt as carried on approved_by = carried.request_id
        left join journal on posting = carried.log_index * 64 and journal.request_id = approved_by
        where asked.op = 'write_off' and (substr(debit_account || ':', 1, 9) is not 'writeoff:'
            or credit_account is not asked.account or journal.amount is not asked.amount)
        or asked.op = 'reverse' and (posting is null
            or approved_by not in (select reversal from every_reversal))
        or asked.op not in ('write_off', 'reverse') and posting is not null""",
    ),
)

# Of accounts in another currency than the first, likewise. What the bank's own are called names theirs.
CURRENCY_CHECKS = (
    Check(
        "all balances in {0} add up to {1}, not to 0",
        """select coalesce(currency, 'the first currency'), sum(amount) from balance
        left join account_currency using (account) group by currency having sum(amount) <> 0""",
    ),
    Check(
        "posting {0} (log entry {1}): it joins {2} and {3}, which differ in currency",
        """select posting, log_index, debit_account, credit_account from account_currency as one
        join journal on debit_account = one.account and debit_account <> 'cash'
        left join account_currency as other on other.account = credit_account
        where one.currency is not other.currency
        union
        select posting, log_index, debit_account, credit_account from account_currency as one
        join journal on credit_account = one.account and credit_account <> 'cash'
        left join account_currency as other on other.account = debit_account
        where one.currency is not other.currency""",
    ),
    Check(
        "account {0}: it was opened in {1} and is in {2}",
        f"""select receipt.account, coalesce({said("receipt", "currency")}, 'the first currency'),
            coalesce(currency, 'the first currency')
        from receipt left join account_currency using (account)
        where op = 'open' and outcome = 'ok' and currency is not {said("receipt", "currency")}
        union all
        select account, 'the first currency', currency from account_currency where account = 'main'""",
    ),
    Check(
        "receipt of {0}: its {1} says an amount in {2}, and the account is in {3}",
        f"""select request_id, op, coalesce({said("receipt", "currency")}, 'the first currency'),
            coalesce(currency, 'the first currency')
        from receipt left join account_currency using (account)
        where op in ('credit', 'debit', 'transfer', 'hold', 'raise_hold', 'write_off', 'arrive')
        and outcome = 'ok'
        and amount is not null and currency is not {said("receipt", "currency")}""",
    ),
    Check(
        "account {0}: it is the bank's own in {1} and is in {2}",
        """select account, substr(account, instr(account, ':') + 1), coalesce(currency, 'the first currency')
        from balance left join account_currency using (account)
        where instr(account, ':') and
            (currency is null and account <> 'transit:' or currency is not null
            and account not in ('cash:' || currency, 'writeoff:' || currency, 'transit:' || currency))
        union all
        select account, 'the first currency', currency from account_currency
        where account in ('cash', 'writeoff')""",
    ),
)

LEVEL_2_CHECKS = (*PARTS_CHECKS, *DEED_CHECKS, *APPROVAL_CHECKS, *CURRENCY_CHECKS)
