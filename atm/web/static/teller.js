// The teller's page: an account and its PIN, and what can be done with it.

import { Bank, Memory, NotDone, OutcomeUnknown, newRequestId } from "./atm-client.js";
import { byId, element, on } from "./dom.js";
import { AmountError, Money } from "./money.js";
import { showHead } from "./nav.js";
import { holdItem, lineRow } from "./tables.js";
import { Undecided, describe } from "./undecided.js";
import { sentence } from "./words.js";

const LINES = 10;
const IDLE_MS = 5 * 60_000; // then the PIN is forgotten
const LATEST_ACCOUNT = "atm.account";
const BUTTONS = { credit: "Pay in", debit: "Pay out", transfer: "Transfer", hold: "Hold" };
const PAST = { credit: "Paid in", debit: "Paid out", transfer: "Transferred", hold: "Held", post: "Paid out of the hold", void: "Released the hold", set_pin: "The PIN is set", open: "Opened the account" };

const bank = new Bank({ storage: storage() });
const asking = new Bank(); // for what need not be kept, such as a login
let me = { may: [] };
let money = new Money({ first: 2, decimals: {} });
let session = null; // {account, pin, currency, feed}; pin only while the account is used
let before; // where the next page of the statement begins
let idle;

const undecided = new Undecided(bank, {
  pinOf: (account) => (session?.account === account ? session.pin : undefined),
  describe: (request) => describe(request, money, session?.account === request.account ? session?.currency : undefined),
  tell: (request, receipt, id) => {
    told(request, receipt, id);
    refreshSoon();
  },
});

function storage() {
  try {
    localStorage.setItem("atm.try", "");
    localStorage.removeItem("atm.try");
    return localStorage;
  } catch {
    return new Memory(); // the browser keeps nothing: a reload forgets what is undecided
  }
}

// -- what is told ------------------------------------------------------------------------------------------

function say(kind, ...parts) {
  byId("told").replaceChildren(element("p", { class: `note ${kind}` }, ...parts));
}

function told(request, receipt, id) {
  const reference = element("span", { class: "mono" }, id);
  if (receipt.outcome === "ok") {
    const amount = receipt.moved ?? request.amount;
    const how = amount === undefined ? "" : ` ${money.format(amount, receipt.currency ?? request.currency)}`;
    const to = request.op === "transfer" ? ` to ${request.target}` : request.op === "open" ? ` ${request.account}` : "";
    say("good", `${PAST[request.op] ?? "Done:"}${how}${to}. `, element("span", { class: "small" }, "Reference ", reference));
  } else {
    say("bad", `${sentence(receipt.outcome)} Nothing was moved. `, element("span", { class: "small" }, "Reference ", reference));
  }
}

/** Run what a button or a form does, once at a time; tell faults. */
async function once(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (error instanceof NotDone) say("bad", notDone(error));
    else if (error instanceof OutcomeUnknown) say("fair", "No answer came. Try it again.");
    else throw error;
  } finally {
    button.setAttribute("aria-busy", "false");
  }
}

function notDone(error) {
  if (error.code === "not_allowed") return `${sentence("not_allowed")} Nothing was done.`;
  if (error.code === "unavailable" || error.code === "busy") return "The bank is not available now. Nothing was done.";
  return `${error.message}. Nothing was done.`;
}

/** Mark a field as wrong, with a sentence below it, and go there. */
function wrong(input, text) {
  right(input);
  const line = element("p", { class: "wrong", id: `${input.id || "hold"}-wrong` }, text);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", line.id);
  input.after(line);
  input.focus();
}

function right(input) {
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-describedby");
  if (input.nextElementSibling?.classList.contains("wrong")) input.nextElementSibling.remove();
}

function amountIn(input, currency) {
  right(input);
  try {
    return money.parse(input.value.trim(), currency);
  } catch (error) {
    if (!(error instanceof AmountError)) throw error;
    wrong(input, error.message);
    return null;
  }
}

// -- an account ---------------------------------------------------------------------------------------------

async function login(form) {
  const name = form.account.value.trim();
  right(form.account);
  right(form.pin);
  if (!name) return wrong(form.account, "Which account?");
  let account;
  try {
    account = await bank.account(name);
  } catch (error) {
    if (error.status === 404) return wrong(form.account, sentence("no_such_account"));
    if (error.code === "bad_request") return wrong(form.account, error.message);
    throw error;
  }
  let pin;
  if (account.pin !== "none") {
    pin = form.pin.value;
    if (!pin) return wrong(form.pin, "This account has a PIN.");
    const refusal = await wrongPin(name, pin);
    if (refusal) return wrong(form.pin, refusal);
  }
  form.reset();
  await enter(name, pin, account.currency);
}

/** Return why the PIN is not accepted, or null. */
async function wrongPin(account, pin) {
  try {
    const receipt = await asking.ask({ op: "login", account, pin });
    if (receipt.outcome === "ok") return null;
    return `${sentence(receipt.outcome)}${await triesLeft(account)}`;
  } catch (error) {
    if (error.code === "bad_request") return error.message;
    throw error;
  }
}

async function triesLeft(account) {
  const { tries_left: tries, locked_until_us: until } = await bank.account(account);
  if (until !== undefined) {
    const seconds = Math.max(1, Math.ceil(until / 1e6 - Date.now() / 1000));
    return ` It is locked for ${seconds < 120 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`} more.`;
  }
  return tries === undefined ? "" : ` ${tries} more wrong one${tries === 1 ? "" : "s"} will lock it.`;
}

/** Use an account. A request may come before its currency is read again. */
async function enter(account, pin, currency) {
  session = { account, pin, currency, feed: null };
  try {
    sessionStorage.setItem(LATEST_ACCOUNT, account);
  } catch {
    // not remembered then
  }
  byId("told").replaceChildren();
  byId("entry").hidden = true;
  byId("counter").hidden = false;
  byId("account-title").textContent = account;
  byId("account-title").focus();
  stayAwake();
  watch();
  await Promise.all([refresh(), undecided.settle()]);
}

function leave(why = "") {
  session?.feed?.close();
  session = null;
  delete byId("counter").dataset.live;
  for (const form of ["login", "request", "pin"]) byId(form).reset();
  for (const list of ["lines", "holds-list"]) byId(list).replaceChildren();
  showRequest();
  byId("counter").hidden = true;
  byId("entry").hidden = false;
  byId("told").replaceChildren();
  if (why) say("", why);
  undecided.show();
  byId("login-account").focus();
}

function stayAwake() {
  clearTimeout(idle);
  if (session) idle = setTimeout(() => leave("Nothing was done for five minutes: use the account again."), IDLE_MS);
}

/** Be told when money of the account moves elsewhere, where the server's role allows it. */
function watch() {
  if (!me.may.includes("watch") || !session || session.feed || document.hidden) return;
  const feed = (session.feed = new EventSource(`/api/v1/events?account=${encodeURIComponent(session.account)}`));
  feed.onopen = () => {
    feed.onopen = null; // a stream that was lost goes on behind its last event
    // It tells what comes from now on, and what was shown may be older than that.
    refresh().then(() => (byId("counter").dataset.live = "")).catch(() => {});
  };
  let waiting;
  on(feed, "posting", () => {
    clearTimeout(waiting);
    waiting = setTimeout(refreshSoon, 150);
  });
}

/** Show the account as it is now. What one refresh found is not shown over what a later one did. */
let refreshing = 0;
async function refresh() {
  if (!session) return;
  const { account } = session;
  refreshing += 1;
  const turn = refreshing;
  const [state, statement, holds] = await Promise.all([
    bank.account(account),
    bank.statement(account, { limit: LINES }),
    bank.holds(account, { limit: 20 }),
  ]);
  if (session?.account !== account || turn !== refreshing) return;
  session.currency = state.currency;
  showAccount(state);
  byId("lines").replaceChildren();
  showLines(statement);
  byId("holds-list").replaceChildren();
  showHolds(holds);
}

/** Refresh meanwhile; where no answer comes, what is shown is called old. */
function refreshSoon() {
  refresh().catch((error) => {
    if (!(error instanceof NotDone || error instanceof OutcomeUnknown)) throw error;
    byId("available").textContent = "As it was before: the bank does not answer now";
  });
}

function showAccount(account) {
  byId("balance").textContent = money.format(account.balance, account.currency);
  const held = account.balance - (account.available ?? account.balance);
  byId("available").textContent = held
    ? `${money.format(account.available, account.currency)} available, ${money.format(held, account.currency)} held`
    : "All of it is available";
  const notes = [];
  if (account.state !== "open") notes.push(sentence(`account_${account.state}`));
  if (account.ceiling !== undefined) notes.push(`At most ${money.format(account.ceiling, account.currency)}.`);
  byId("state").textContent = notes.join(" ");
  byId("amount-currency").textContent = account.currency === undefined ? "" : `in ${account.currency}`;
  byId("pin-summary").textContent = account.pin === "none" ? "Set a PIN: without one, anybody here may pay out" : "Change the PIN";
}

function showLines({ lines, next }) {
  byId("lines").append(...lines.map((line) => lineRow(line, money)));
  const none = !byId("lines").childElementCount;
  byId("no-lines").hidden = !none;
  byId("lines-table").hidden = none;
  before = next;
  byId("older").hidden = next === undefined;
}

function showHolds({ holds, next }) {
  byId("holds-list").append(...holds.map((hold) => holdItem(hold, money, act)));
  byId("holds").hidden = !byId("holds-list").childElementCount;
  byId("more-holds").hidden = next === undefined;
  byId("more-holds").dataset.after = next ?? "";
}

// -- requests -----------------------------------------------------------------------------------------------

async function send(request) {
  const id = newRequestId();
  byId("told").replaceChildren();
  const receipt = await undecided.ask(request, id);
  if (receipt) {
    told(request, receipt, id);
    refreshSoon(); // the next request need not wait for it
  }
  return receipt;
}

const withPin = (request) => (session.pin === undefined ? request : { ...request, pin: session.pin });

async function sendRequest(form) {
  const op = form.op.value;
  for (const input of [form.target, form.minutes]) right(input);
  const target = form.target.value.trim();
  if (op === "transfer" && !target) return wrong(form.target, "To which account?");
  const amount = amountIn(form.amount, session.currency);
  if (amount === null) return;
  const minutes = Number(form.minutes.value);
  if (op === "hold" && !(Number.isInteger(minutes) && minutes > 0 && minutes <= 576_000)) {
    return wrong(form.minutes, "Write a whole number of minutes, such as 5");
  }
  let request = { op, account: session.account, amount };
  if (session.currency !== undefined) request.currency = session.currency;
  if (form.text.value.trim()) request.text = form.text.value.trim();
  if (op === "transfer") request.target = target;
  if (op === "hold") request.expires_ms = minutes * 60_000;
  if (op !== "credit") request = withPin(request);
  const receipt = await send(request);
  if (receipt?.outcome === "ok") {
    form.amount.value = "";
    form.text.value = "";
    form.amount.focus();
  }
}

async function act(op, hold, input) {
  await once(input, async () => {
    const request = { op, hold: hold.request_id };
    if (op === "post") {
      const amount = amountIn(input, hold.currency);
      if (amount === null) return;
      request.amount = amount;
      if (hold.currency !== undefined) request.currency = hold.currency;
    }
    await send(request);
    byId("account-title").focus();
  });
}

async function open(form) {
  const account = form.account.value.trim();
  const currency = form.currency.value.trim().toUpperCase();
  right(form.account);
  if (!account) return wrong(form.account, "What is it to be called?");
  const receipt = await send(currency ? { op: "open", account, currency } : { op: "open", account });
  if (receipt?.outcome === "ok") {
    form.reset();
    byId("opening").open = false;
    byId("login-account").value = account;
    byId("login-account").focus();
  }
}

async function setPin(form) {
  const pin = form.pin.value;
  right(form.pin);
  if (!/^[0-9]{4,12}$/.test(pin)) return wrong(form.pin, "A PIN is 4 to 12 digits");
  const request = { op: "set_pin", account: session.account, pin };
  if (session.pin !== undefined) request.old_pin = session.pin;
  form.reset();
  const receipt = await send(request);
  if (receipt?.outcome === "ok" && session) session.pin = pin;
}

function showRequest() {
  const op = byId("request").op.value;
  byId("target-field").hidden = op !== "transfer";
  byId("minutes-field").hidden = op !== "hold";
  byId("send").textContent = BUTTONS[op];
}

// -- beginning ----------------------------------------------------------------------------------------------

for (const [id, work] of Object.entries({ login, request: sendRequest, open, pin: setPin })) {
  on(byId(id), "submit", (event) => {
    event.preventDefault();
    once(event.target.querySelector("button"), () => work(event.target));
  });
}
on(byId("request"), "change", showRequest);
on(byId("logout"), "click", () => leave());
on(byId("older"), "click", (event) =>
  once(event.target, async () => showLines(await bank.statement(session.account, { limit: LINES, before }))),
);
on(byId("more-holds"), "click", (event) =>
  once(event.target, async () =>
    showHolds(await bank.holds(session.account, { limit: 20, after_hold: event.target.dataset.after })),
  ),
);
on(document, "visibilitychange", () => {
  if (document.hidden) {
    session?.feed?.close();
    if (session) session.feed = null;
  } else if (session) {
    watch();
    refreshSoon();
  }
});
for (const event of ["pointerdown", "keydown"]) on(document, event, stayAwake);

async function begin() {
  byId("entry").hidden = false;
  try {
    byId("login-account").value = sessionStorage.getItem(LATEST_ACCOUNT) ?? "main";
  } catch {
    byId("login-account").value = "main";
  }
  try {
    const [who, currencies] = await Promise.all([showHead(bank), bank.read("/currencies")]);
    me = who;
    money = new Money(currencies);
  } catch (error) {
    if (!(error instanceof NotDone)) throw error;
    say("bad", notDone(error));
  }
  const forbidden = Object.keys(BUTTONS).filter((op) => !me.may.includes(op));
  for (const op of forbidden) byId("request").querySelector(`[value=${op}]`).closest("label").hidden = true;
  byId("request").hidden = forbidden.length === Object.keys(BUTTONS).length;
  byId("opening").hidden = !me.may.includes("open");
  if (!me.may.includes("query")) say("bad", "The role of this web server does not allow to see accounts.");
  await undecided.settle();
}

showRequest();
begin();
