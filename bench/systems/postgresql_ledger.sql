-- The ledger that a bank would write for PostgreSQL: one call of a function is one transaction. A request is done once
-- by its id, moves money only where the payer has it, and leaves a receipt and a line of double entry.

create table account (
    id text primary key,
    balance bigint not null default 0,
    lowest bigint not null default 0  -- of the bank's own cash, which pays what is credited: far below 0
) with (fillfactor = 70);  -- a changed balance stays on its page

create table receipt (
    id text primary key,
    outcome text not null,
    balance bigint,  -- the payer's or the customer's, after it
    at timestamptz not null default now()
);

create table journal (
    number bigint generated always as identity primary key,
    receipt text not null,
    payer text not null,
    payee text not null,
    amount bigint not null check (amount > 0),
    at timestamptz not null default now()
);

create index journal_payer on journal (payer) where payer <> 'cash';  -- statements are read by these
create index journal_payee on journal (payee) where payee <> 'cash';

-- Moves an amount; `shown` is whose balance goes into the receipt.
create function move(request text, payer text, payee text, amount bigint, shown text)
returns text language plpgsql as $$
declare
    told text;
    missing text;
    after_payer bigint;
    after_payee bigint;
begin
    select outcome into told from receipt where id = request;
    if found then
        return told;
    end if;
    -- Rows are locked in the order of their ids, so that two transfers against each other do not wait for each other.
    if payer < payee then
        update account set balance = balance - move.amount
            where id = payer and balance - move.amount >= lowest returning balance into after_payer;
        if found then
            update account set balance = balance + move.amount where id = payee returning balance into after_payee;
        end if;
    else
        update account set balance = balance + move.amount where id = payee returning balance into after_payee;
        if found then
            update account set balance = balance - move.amount
                where id = payer and balance - move.amount >= lowest returning balance into after_payer;
        end if;
    end if;
    if after_payer is null or after_payee is null then
        select id into missing from unnest(array[payer, payee]) id where id not in (select a.id from account a) limit 1;
        told := case when missing is null then 'insufficient_funds' else 'no_such_account' end;
        raise exception using errcode = 'P0001', message = told;  -- undoes the half that was done
    end if;
    insert into receipt (id, outcome, balance)
        values (request, 'ok', case shown when payer then after_payer else after_payee end);
    insert into journal (receipt, payer, payee, amount) values (request, payer, payee, move.amount);
    return 'ok';
end $$;

-- Moves one unit of each payer to the payee beside it, all or none: one receipt, a line of the journal each.
create function move_all(request text, payers text[], payees text[])
returns text language plpgsql as $$
declare
    told text;
    changed int;
begin
    select outcome into told from receipt where id = request;
    if found then
        return told;
    end if;
    perform from account where id = any (payers || payees) order by id for update;
    update account set balance = balance + change
        from (
            select id, sum(change)::bigint as change
            from (
                select unnest(payers) as id, -1 as change
                union all
                select unnest(payees), 1
            ) legs
            group by id
        ) changes
        where account.id = changes.id and balance + change >= lowest;
    get diagnostics changed = row_count;
    if changed <> (select count(distinct id) from unnest(payers || payees) id) then
        raise exception using errcode = 'P0001', message = 'insufficient_funds';
    end if;
    insert into receipt (id, outcome) values (request, 'ok');
    insert into journal (receipt, payer, payee, amount)
        select request, payer, payee, 1 from unnest(payers, payees) as legs (payer, payee);
    return 'ok';
end $$;
