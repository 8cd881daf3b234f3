// What `bin/admin health` and `status` say: a sentence, alarms, and each server. The web server judges.

import { byId, element, on } from "./dom.js";

const LOOK_EVERY_MS = 3_000;
const KINDS = { healthy: "good", degraded: "fair", "not available": "bad" };
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const TIMES = [["d", 86_400], ["h", 3600], ["min", 60]];

function size(bytes) {
  let power = 0;
  for (; bytes >= 1000 && power < UNITS.length - 1; power++) bytes /= 1024;
  return `${bytes.toFixed(bytes >= 100 || power === 0 ? 0 : 1)} ${UNITS[power]}`;
}

function duration(seconds) {
  const [unit, unitSeconds] = TIMES.find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  return `${Math.floor(seconds / unitSeconds)} ${unit}`;
}

function roleOf({ role, voter, said }) {
  if (role === "down" && said) return "busy";
  if (role === "learner" || voter === null) return role;
  return `${role}, ${voter ? "voter" : "no vote"}`;
}

/** Return what a server tells of itself; an older release does not tell all of it. */
function detailsOf({ said, version, lag, disk_free_bytes: free, uptime_s: up }) {
  return [
    said,
    version && `release ${version}`,
    lag !== null && `${lag.toLocaleString("en")} ${lag === 1 ? "entry" : "entries"} behind`,
    free !== null && `${size(free)} free on its disk`,
    up !== null && `up for ${duration(up)}`,
  ].filter(Boolean).join(", ");
}

/** Let a place have these elements, each a name and a text. What is so already is not touched: nothing selected is lost. */
function fill(place, wanted) {
  while (place.children.length > wanted.length) place.lastElementChild.remove();
  wanted.forEach(([name, text], at) => {
    if (at === place.children.length) place.append(element(name));
    write(place.children[at], text);
  });
}

/** Set a text, unless it is there: nothing is read aloud twice. */
function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export class Health {
  constructor(bank) {
    this._bank = bank;
    on(document, "visibilitychange", () => this._round && !document.hidden && this.begin());
  }

  /** Show it, from now on. */
  async begin() {
    const round = (this._round = {}); // an answer to an earlier one is not shown any more
    clearTimeout(this._timer);
    byId("health").hidden = false;
    if (!document.hidden) {
      const told = await this._look();
      if (round !== this._round) return;
      this._show(told);
    }
    this._timer = setTimeout(() => this.begin(), LOOK_EVERY_MS);
  }

  /** Show none: a file has none. */
  end() {
    this._round = null;
    clearTimeout(this._timer);
    byId("health").hidden = true;
    this._show({ message: "Asking the servers…", alarms: [], nodes: [], health: "" }); // for when it begins again
  }

  async _look() {
    try {
      return await this._bank.read("/health");
    } catch (error) {
      const why = error.code === "not_allowed" ? `Not shown here: ${error.message}` : `Not known: ${error.message}`;
      return { message: why, alarms: [], nodes: [], health: "" };
    }
  }

  _show({ health, message, alarms, nodes }) {
    byId("health-told").className = `note ${KINDS[health] ?? "unknown"}`;
    write(byId("health-told"), message);
    fill(byId("health-alarms"), alarms.map((alarm) => ["li", `Alarm of ${alarm}`]));
    byId("health-alarms").hidden = !alarms.length;
    fill(byId("health-servers"), nodes.flatMap((node) => [["dt", `${node.node}: ${roleOf(node)}`], ["dd", detailsOf(node)]]));
  }
}
