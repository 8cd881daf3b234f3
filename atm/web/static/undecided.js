// Requests whose outcome is not known: shown as such, kept over a reload, and asked again under their old ids.

import { NotDone, OutcomeUnknown } from "./atm-client.js";
import { byId, element, on } from "./dom.js";
import { OPS } from "./words.js";

const AGAIN_MS = 3_000;
const SHOWN_AFTER_MS = 3_000; // one of another page may be answered any moment
const LOST_AFTER_MS = 60_000; // a request that cannot be asked again, as its PIN was not kept

export class Undecided {
  #bank;
  #pinOf;
  #tell;
  #describe;
  #asking = new Set();
  #ours = new Set();
  #timer = null;

  /**
   * `pinOf(account)` is the PIN that was typed for an account, if any. `tell(request, receipt, id)` is called
   * once a request is decided, and `describe(request)` says what it is.
   */
  constructor(bank, { pinOf, tell, describe }) {
    this.#bank = bank;
    this.#pinOf = pinOf;
    this.#tell = tell;
    this.#describe = describe;
  }

  /** Ask for something new. Return its receipt, or null if it stays undecided for now; throw NotDone. */
  async ask(request, id) {
    this.#asking.add(id);
    try {
      return await this.#bank.ask(request, {
        id,
        onUnknown: () => {
          this.#ours.add(id);
          this.show();
        },
      });
    } catch (error) {
      if (!(error instanceof OutcomeUnknown)) throw error;
      return null;
    } finally {
      this.#asking.delete(id);
      this.show();
    }
  }

  /** Ask again for all that is not decided. */
  async settle() {
    clearTimeout(this.#timer);
    await Promise.all(this.#bank.pending.all().map((kept) => this.#settleOne(kept)));
    this.show();
  }

  async #settleOne(kept) {
    if (this.#asking.has(kept.id)) return;
    this.#asking.add(kept.id);
    try {
      const receipt = await this.#outcomeOf(kept);
      if (receipt) {
        this.#ours.delete(kept.id);
        this.#tell(kept.request, receipt, kept.id);
      }
    } catch (error) {
      // Not answered: it stays, and is asked again.
      if (!(error instanceof NotDone || error instanceof OutcomeUnknown)) throw error;
    } finally {
      this.#asking.delete(kept.id);
    }
  }

  async #outcomeOf({ id, request, secrets, at }) {
    const decided = await this.#bank.decided(id); // needs no PIN
    if (decided) {
      this.#bank.pending.drop(id);
      return decided;
    }
    if (request.op === "set_pin") {
      if (Date.now() - at < LOST_AFTER_MS) return null;
      this.#bank.pending.drop(id);
      return { outcome: "original_not_found" };
    }
    const pin = this.#pinOf(request.account);
    if (secrets.length && pin === undefined) return null;
    return this.#bank.settle(id, secrets.length ? { ...request, pin } : request);
  }

  /** Show what is not decided, and look again while there is any. */
  show() {
    const old = Date.now() - SHOWN_AFTER_MS;
    const all = this.#bank.pending.all();
    const shown = all.filter((kept) => this.#ours.has(kept.id) || (kept.at < old && !this.#asking.has(kept.id)));
    byId("unknown").hidden = !shown.length;
    byId("unknown-list").replaceChildren(...shown.map((kept) => this.#card(kept)));
    clearTimeout(this.#timer);
    if (all.length) this.#timer = setTimeout(() => this.settle(), AGAIN_MS);
  }

  #card({ id, request, secrets }) {
    const again = element("button", { class: "plain little" }, "Ask again now");
    on(again, "click", () => this.settle());
    const needsPin = secrets.length && request.op !== "set_pin" && this.#pinOf(request.account) === undefined;
    return element(
      "li",
      { class: "note fair" },
      element("p", {}, element("strong", {}, "Outcome unknown: "), this.#describe(request)),
      element(
        "p",
        { class: "small" },
        "It may or may not be done, and is asked again under the same reference, so it is done once at most. Reference ",
        element("span", { class: "mono" }, id),
      ),
      needsPin
        ? element("p", { class: "small" }, `Use the account ${request.account} with its PIN to settle it.`)
        : element("div", { class: "row" }, again),
    );
  }
}

/** Return what a request is, for people. */
export function describe(request, money, currency) {
  const what = OPS[request.op] ?? request.op;
  const amount = request.amount === undefined ? "" : ` ${money.format(request.amount, request.currency ?? currency)}`;
  const from = request.account === undefined ? "" : `, account ${request.account}`;
  const to = request.target === undefined ? "" : ` to ${request.target}`;
  return `${what}${amount}${to}${from}`;
}
