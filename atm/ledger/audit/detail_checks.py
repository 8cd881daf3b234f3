"""What must hold of further limits, and of what receipts say besides: in a ledger from feature level 2 on."""

from __future__ import annotations

from atm.ledger.audit.checks import Check, said

DETAIL_CHECKS = (
    Check(
        "receipt of {0}: it names leg {1} of a {2} that is {3}",
        """select request_id, leg, op, outcome from receipt_detail join receipt using (request_id)
        where leg is not null and (op <> 'batch' or outcome = 'ok' or not json_valid(details)
            or leg not between 0 and json_array_length(details, '$.legs') - 1)""",
    ),
    Check(
        "receipt of {0}: it tells of {1} active holds, and is {2} of a {3}",
        """select request_id, active_holds, outcome, op from receipt_detail join receipt using (request_id)
        where active_holds is not null and (active_holds < 1 or balance - available < 1
            or (op, outcome) not in (values ('freeze', 'ok'), ('close', 'not_empty')))""",
    ),
    Check(
        "receipt of {0}: it says that {1} was all there was, and what was moved is {2}",
        f"""select receipt.request_id, moved, journal.amount from receipt
        left join receipt_detail using (request_id) left join journal on posting = receipt.log_index * 64
        where op in ('debit', 'transfer') and outcome = 'ok' and moved is not
            iif({said("receipt", "all")} is 1, journal.amount, null)
        union all
        select request_id, moved, op from receipt_detail join receipt using (request_id)
        where moved is not null and (outcome <> 'ok' or op not in ('debit', 'transfer'))""",
    ),
    Check(
        "posting {0}: its code and text are {1}, and the request {2} said {3}",
        f"""select posting, iif(remark.posting is null, 'none', json_array(code, text)), receipt.request_id,
            json_array({said("asked", "code")}, {said("asked", "text")})
        from journal join receipt using (request_id) join receipt as asked on asked.request_id =
            iif(receipt.op = 'approve', {said("receipt", "request")}, receipt.request_id)
        left join remark using (posting)
        where code is not {said("asked", "code")} or text is not {said("asked", "text")}
            or (remark.posting is not null and code is null and text is null)""",
    ),
    Check(
        "account {0}: its ceiling is {1}, and the last deed that set one says {2}",
        """select account, ceiling, amount from account_limit left join
            (select target, max(deed), amount from deed where op = 'set_ceiling' and outcome = 'ok'
            group by target) on target = account
        where ceiling is not amount""",
    ),
    Check(
        "account {0}: transfers count since log entry {1}, which is no deed that said so",
        """select account, transfers_from from account_limit where transfers_from is not null
        and transfers_from not in
            (select deed from deed where op = 'set_limit' and outcome = 'ok' and target = account)""",
    ),
)
