// The bank over HTTP from JavaScript: for browsers and for Node 20, without dependencies.
//
//   const bank = new Bank({base: "http://localhost:8080"});
//   const receipt = await bank.ask({op: "credit", account: "main", amount: 50_00});
//
// What the bank decides is a value: receipt.outcome. Faults are exceptions: NotDone (certainly not done) and
// OutcomeUnknown (may or may not be done: ask again with the same id and the same request).
//
// An id is drawn before anything is sent, and `pending` keeps it with its request until it is decided. So a
// page that was closed, or a program that was killed, can settle it later: see `settle`.

const ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford's base 32, as the Python client has it
const SECRETS = ["pin", "old_pin"];

/** Return a new id of 20 characters; ids rise with time. */
export function newRequestId(nowMs = Date.now()) {
  const random = crypto.getRandomValues(new BigUint64Array(1))[0] & ((1n << 55n) - 1n);
  const number = (BigInt(nowMs) << 55n) | random;
  let id = "";
  for (let shift = 95n; shift >= 0n; shift -= 5n) id += ID_CHARACTERS[Number((number >> shift) & 31n)];
  return id;
}

/** Nothing was done. `code` is that of the problem, such as "unavailable", "bad_request", "not_allowed". */
export class NotDone extends Error {
  constructor(message, code, status = 0) {
    super(message);
    this.name = "NotDone";
    this.code = code;
    this.status = status;
  }
}

/** It may or may not be done: ask again under `id` with the same request. */
export class OutcomeUnknown extends Error {
  constructor(id, request) {
    super(`Outcome unknown, reference ${id}`);
    this.name = "OutcomeUnknown";
    this.id = id;
    this.request = request;
  }
}

/** Keeps requests that are not decided yet, without their PINs, in a storage such as localStorage. */
export class Pending {
  constructor(storage, prefix = "atm.pending.") {
    this.storage = storage;
    this.prefix = prefix;
  }

  keep(id, request) {
    const kept = Object.fromEntries(Object.entries(request).filter(([name]) => !SECRETS.includes(name)));
    const secrets = SECRETS.filter((name) => request[name] !== undefined);
    // A key for each, so that two pages never write over each other's.
    this.storage.setItem(this.prefix + id, JSON.stringify({ request: kept, secrets, at: Date.now() }));
  }

  drop(id) {
    this.storage.removeItem(this.prefix + id);
  }

  /** Return {id, request, secrets, at} for each, the oldest first; `secrets` names what was left out. */
  all() {
    const found = [];
    for (let place = 0; place < this.storage.length; place += 1) {
      const key = this.storage.key(place);
      if (key === null || !key.startsWith(this.prefix)) continue;
      try {
        found.push({ id: key.slice(this.prefix.length), ...JSON.parse(this.storage.getItem(key)) });
      } catch {
        // not written by us
      }
    }
    return found.sort((one, other) => one.at - other.at);
  }
}

/** A storage for programs that keep nothing. */
export class Memory {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  key(place) {
    return [...this.#items.keys()][place] ?? null;
  }
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, value);
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

export class Bank {
  /**
   * A request is tried for `patienceMs`, each time for `timeoutMs` at most. `storage` keeps what is not
   * decided yet (default: nothing is kept beyond this object).
   */
  constructor({ base = "", fetch = globalThis.fetch, storage = new Memory(), timeoutMs = 12_000, patienceMs = 20_000, pauseMs = 500 } = {}) {
    this.base = base;
    this.pending = new Pending(storage);
    this.#fetch = (...args) => fetch(...args);
    this.timeoutMs = timeoutMs;
    this.patienceMs = patienceMs;
    this.pauseMs = pauseMs;
  }
  #fetch;

  /** Ask for a command; return its receipt. Throw NotDone or OutcomeUnknown. `onUnknown` is called once. */
  async ask(request, { id = newRequestId(), onUnknown = () => {} } = {}) {
    this.pending.keep(id, request);
    return this.#untilDecided(id, request, { onUnknown, maybeDone: false });
  }

  /** Ask again for what `ask` left unknown: the same id, and the same request with its PIN. */
  async settle(id, request) {
    return this.#untilDecided(id, request, { onUnknown: () => {}, maybeDone: true });
  }

  async #untilDecided(id, request, { onUnknown, maybeDone }) {
    const until = Date.now() + this.patienceMs;
    let unknown = maybeDone;
    for (;;) {
      const came = await this.#put(id, request);
      if (came.receipt) {
        this.pending.drop(id);
        return came.receipt;
      }
      if (came.notDone && !unknown) {
        // Not even an earlier try may have done it.
        this.pending.drop(id);
        throw came.notDone;
      }
      if (!unknown) onUnknown(id);
      unknown = true;
      if (Date.now() + this.pauseMs > until) throw new OutcomeUnknown(id, request);
      await new Promise((resume) => setTimeout(resume, this.pauseMs));
    }
  }

  async #put(id, request) {
    let response, body;
    try {
      response = await this.#fetch(`${this.base}/api/v1/requests/${encodeURIComponent(id)}`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
        signal: AbortSignal.timeout(this.timeoutMs),
      });
      body = await response.json();
    } catch {
      return {}; // it may have been sent
    }
    if (response.status === 200) return { receipt: body };
    if (body.done === false) return { notDone: new NotDone(body.detail, body.code, response.status) };
    return {};
  }

  /** Read an address below /api/v1, such as "/accounts/main"; throw NotDone. */
  async read(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = given.length ? `?${new URLSearchParams(given)}` : "";
    let response, body;
    try {
      response = await this.#fetch(`${this.base}/api/v1${path}${search}`, {
        signal: AbortSignal.timeout(this.timeoutMs),
      });
      body = await response.json();
    } catch {
      throw new NotDone("The web server does not answer", "unavailable");
    }
    if (!response.ok) throw new NotDone(body.detail, body.code, response.status);
    return body;
  }

  account(name) {
    return this.read(`/accounts/${encodeURIComponent(name)}`);
  }

  statement(name, { limit, before } = {}) {
    return this.read(`/accounts/${encodeURIComponent(name)}/statement`, { limit, before });
  }

  holds(name, { limit, after_hold } = {}) {
    return this.read(`/accounts/${encodeURIComponent(name)}/holds`, { limit, after_hold });
  }

  /** Return what was decided under an id, or null if nothing was, so far. */
  async decided(id) {
    try {
      return await this.read(`/requests/${encodeURIComponent(id)}`);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }
}
