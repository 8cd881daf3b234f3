// Runs the JavaScript client against a server whose answers the test decides: node client.mjs BASE
import assert from "node:assert/strict";
import { Bank, Memory, NotDone, OutcomeUnknown, newRequestId } from "../../atm/web/static/atm-client.js";
import { Money } from "../../atm/web/static/money.js";
import { OUTCOMES } from "../../atm/web/static/words.js";

const answer = (status, body) => ({ status, ok: status < 300, json: async () => body });

/** A fetch that plays these steps in order; a step is an answer, or an error to throw. */
function script(...steps) {
  const asked = [];
  const fetch = async (url, options) => {
    asked.push([url, options?.body]);
    const step = steps.length > 1 ? steps.shift() : steps[0];
    if (step instanceof Error) throw step;
    return step;
  };
  return { fetch, asked };
}

const fast = { patienceMs: 60, pauseMs: 5, timeoutMs: 1_000 };
const request = { op: "debit", account: "ann", amount: 5, pin: "4711" };
const ok = answer(200, { id: "A1", outcome: "ok" });
const unknown = answer(202, { id: "A1", outcome: "unknown" });
const unavailable = answer(503, { code: "unavailable", detail: "no", done: false });

const stories = {
  async "an id is kept before anything is sent, without its PIN, until it is decided"() {
    const storage = new Memory();
    let kept;
    const bank = new Bank({ ...fast, storage, fetch: async () => ((kept = bank.pending.all()), ok) });
    await bank.ask(request, { id: "A1" });
    assert.deepEqual(kept.map(({ id, request: what, secrets }) => [id, what, secrets]), [["A1", { op: "debit", account: "ann", amount: 5 }, ["pin"]]]);
    assert.equal(storage.length, 0);
  },
  async "it asks again under the same id and with the same contents"() {
    const { fetch, asked } = script(unknown, new TypeError("lost"), ok);
    const bank = new Bank({ ...fast, fetch });
    const said = [];
    assert.equal((await bank.ask(request, { onUnknown: (id) => said.push(id) })).outcome, "ok");
    assert.equal(asked.length, 3);
    assert.equal(new Set(asked.map(String)).size, 1);
    assert.equal(said.length, 1);
  },
  async "certainly not done is said only when no earlier try may have done it"() {
    await assert.rejects(new Bank({ ...fast, fetch: script(unavailable).fetch }).ask(request), NotDone);
    const bank = new Bank({ ...fast, fetch: script(unknown, unavailable).fetch });
    await assert.rejects(bank.ask(request, { id: "A1" }), OutcomeUnknown);
    assert.deepEqual(bank.pending.all().map(({ id }) => id), ["A1"]);
  },
  async "what is not known stays kept and is settled under its old id"() {
    const storage = new Memory();
    const before = new Bank({ ...fast, storage, fetch: script(new TypeError("lost")).fetch });
    await assert.rejects(before.ask(request, { id: "A1" }), OutcomeUnknown);
    const { fetch, asked } = script(ok);
    const after = new Bank({ ...fast, storage, fetch });
    const [kept] = after.pending.all();
    assert.equal((await after.settle(kept.id, { ...kept.request, pin: "4711" })).outcome, "ok");
    assert.match(asked[0][0], /\/requests\/A1$/);
    assert.equal(storage.length, 0);
  },
  async "ids are unique, sorted by time, and of the characters of the other clients"() {
    const ids = [1, 2, 3].map((ms) => newRequestId(ms * 1e6));
    assert.deepEqual([...ids].sort(), ids);
    assert.ok(ids.every((id) => /^[0-9A-HJKMNP-TV-Z]{20}$/.test(id)));
  },
};

const [, , base, cases] = process.argv;
for (const [name, story] of Object.entries(stories)) {
  await story();
  console.log(`ok ${name}`);
}

// Against the real server, and the amounts and outcomes of the Python side.
const { amounts, outcomes, account } = JSON.parse(cases);
const bank = new Bank({ base });
const money = new Money(await bank.read("/currencies"));
for (const [text, currency, minor, formatted] of amounts) {
  let parsed = null;
  try {
    parsed = money.parse(text, currency ?? undefined);
  } catch {
    // refused
  }
  assert.equal(parsed, minor, `${text} ${currency}`);
  if (minor !== null) assert.equal(money.format(minor, currency ?? undefined), formatted);
}
assert.deepEqual(Object.keys(OUTCOMES).sort(), outcomes);
const id = newRequestId();
assert.equal(await bank.decided(id), null);
assert.equal((await bank.ask({ op: "credit", account, amount: 500 }, { id })).balance, 500);
assert.equal((await bank.ask({ op: "credit", account, amount: 500 }, { id })).balance, 500);
assert.equal((await bank.decided(id)).outcome, "ok");
assert.equal((await bank.statement(account)).lines.length, 1);
await assert.rejects(bank.account("nobody"), NotDone);
console.log("ok the real server");
