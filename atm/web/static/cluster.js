// The live cluster: what the servers tell (/api/v1/cluster/events), or a recorder's files, around one player.

import { LogView, NetworkView } from "/learn/cluster_view.js";
import { Player, Track } from "/learn/player.js";
import { Timeline } from "/learn/timeline.js";
import { Bank, NotDone } from "./atm-client.js";
import { bySecond, drawCurve, median, sum } from "./curves.js";
import { byId, element, on } from "./dom.js";
import { Faults } from "./faults.js";
import { Happenings } from "./happenings.js";
import { Health } from "./health.js";
import { Money } from "./money.js";
import { showHead } from "./nav.js";

const DELAY_US = 700_000; // live is so far behind the newest, so that it runs evenly
const BEHIND_US = 1_500_000; // farther than this from there, it jumps
const SEEN_US = 160_000; // a message stays in sight for so long, at real time
const FRAMES_MAX = 60_000;
const FRAMES_KEPT = 30_000;
const EVENTS_SHOWN = 60;
const BALANCES_EVERY_MS = 2_000;
const ACCOUNTS_SHOWN = 8;
const RETRY_MS = 2_000;
const STALE_MS = 5_000; // health that nobody confirms within it is not shown any more
const WHY = [["role", "Role"], ["term", "Term"], ["vote", "Vote"], ["log", "Log"], ["commit", "Committed"], ["applied", "Applied"]];
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const bank = new Bank();

function tell(text, kind = "") {
  byId("told").replaceChildren(...(text ? [element("p", { class: `note ${kind}` }, text)] : []));
}

function clockTime(wallUs) {
  const at = new Date(wallUs / 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

class Page {
  constructor() {
    this.selected = "";
    this.live = true; // or a file
    this.network = new NetworkView(byId("network"), (name) => this.select(name));
    this.logs = new LogView(byId("logs"));
    const controls = Object.fromEntries(["back", "run", "step", "time", "clock", "speed"].map((id) => [id, byId(id)]));
    this.player = new Player(controls, (timeUs) => this._shown(timeUs));
    this.faults = new Faults(() => {
      this.add(this.happenings.cut(this.faults.cuts));
      this.redraw();
    });
    this.health = new Health(new Bank({ timeoutMs: STALE_MS }));
    on(byId("details"), "change", () => {
      this.player.weight = byId("details").checked ? 0 : 1;
      this._showEvents(this.player.timeUs);
    });
    on(byId("live"), "click", () => this.follow());
    on(byId("file"), "change", () => this._openFiles());
    on(byId("leave-file"), "click", () => this.watch());
    new ResizeObserver(() => this.redraw()).observe(byId("logs").parentElement);
    this.clear();
  }

  clear() {
    this.happenings = new Happenings();
    this.timeline = new Timeline();
    this._eventsKey = this._whyKey = this._curvesKey = undefined;
    this._track = new Track(this.timeline, (state, timeUs) => this._draw(state, timeUs));
    this.player.show([this._track]);
  }

  add(frames) {
    if (!frames.length) return;
    this.timeline.add(frames);
    if (this.timeline.length > FRAMES_MAX) this._shorten();
  }

  /** Forget the oldest frames: a state takes their place. */
  _shorten() {
    const { frames } = this.timeline;
    const cut = frames.length - FRAMES_KEPT;
    const state = this.timeline.stateAt(cut - 1);
    const nodes = {};
    for (const [name, { log, logStart, ...rest }] of state.nodes) nodes[name] = { ...rest, log: { start: logStart, keep: logStart, add: log } };
    this.timeline = new Timeline();
    this.timeline.add([{ time_us: state.timeUs, nodes, cuts: state.cuts, events: [] }, ...frames.slice(cut)]);
    this._track.timeline = this.timeline;
    byId("time").min = state.timeUs;
  }

  // -- live --------------------------------------------------------------------------------------------------

  /** Show the live cluster. */
  watch() {
    this.live = true;
    this._source?.close();
    byId("title").textContent = "The live cluster";
    byId("leave-file").hidden = true;
    byId("live").hidden = false;
    byId("time").min = 0;
    this.player.growing = true;
    this.clear();
    tell("Asking the servers…");
    this._connect();
    this.faults.begin();
    this.health.begin();
  }

  _connect() {
    const source = (this._source = new EventSource("/api/v1/cluster/events"));
    on(source, "begin", () => {
      this.clear();
      this.add(this.happenings.cut(this.faults.cuts));
      this._following = true;
    });
    on(source, "gap", () => this.add([this.happenings.note("The page has missed some of what happened: it read too slowly")]));
    on(source, "happened", (event) => this._happened(JSON.parse(event.data)));
    on(source, "status", (event) => this._status(JSON.parse(event.data)));
    on(source, "error", () => this._lost(source));
  }

  /** A stream that ended is asked for again by the browser; one that was refused is not. */
  async _lost(source) {
    if (source !== this._source) return;
    if (source.readyState !== EventSource.CLOSED) {
      tell("The web server does not answer; the page asks again", "fair");
      return;
    }
    let why = "The web server does not answer";
    let again = true;
    try {
      const response = await fetch("/api/v1/cluster/events");
      if (response.ok) await response.body.cancel();
      else {
        const problem = await response.json();
        why = problem.detail;
        again = problem.code !== "not_allowed";
      }
    } catch {
      // it is not there
    }
    if (source !== this._source) return;
    tell(again ? `${why}; the page asks again` : why, again ? "fair" : "bad");
    if (again) setTimeout(() => source === this._source && this._connect(), RETRY_MS);
  }

  _happened(piece) {
    const silent = this.happenings.silence(piece.silent, Object.keys(piece.silent));
    this.add([...silent, ...this.happenings.frames(piece.events)]);
    for (const [name, count] of Object.entries(piece.missed)) {
      this.add([this.happenings.note(`${count} events of ${name} were not kept until they were asked for`, { node: name })]);
    }
    this._leftOut = piece.left_out;
    const down = Object.keys(piece.silent).length;
    if (down === this.happenings.servers.size) tell("No server answers", "bad");
    else tell(piece.left_out ? `Much happens: ${piece.left_out} messages and entries of the last moment are left out` : "");
    document.documentElement.dataset.ready = "live";
    this._keepUp();
  }

  _status(status) {
    this.add(this.happenings.fill(status));
    this.redraw();
  }

  _keepUp() {
    if (!this._following || document.hidden) return;
    const target = this.player.endUs - DELAY_US;
    this.player.play(); // first: whoever is not playing does not follow
    if (this.player.timeUs < target - BEHIND_US) this.player.goTo(Math.max(0, target));
    this._showFollowing();
  }

  /** Go to the newest moment, and stay there. */
  follow() {
    byId("speed").value = "1";
    this._following = true;
    this.player.play();
    this.player.goTo(Math.max(0, this.player.endUs - DELAY_US));
    this._showFollowing();
  }

  _showFollowing() {
    // Whoever pauses, steps or chooses another speed looks at something.
    if (this._following && (!this.player.playing || byId("speed").value !== "1")) this._following = false;
    byId("live").setAttribute("aria-pressed", String(Boolean(this._following)));
  }

  // -- files -------------------------------------------------------------------------------------------------

  async _openFiles() {
    const files = [...byId("file").files];
    byId("file").value = "";
    if (!files.length) return;
    const names = files.map((file) => file.name).join(", ");
    tell(`Reading ${names}…`);
    const events = [];
    const notes = [];
    try {
      for (const file of files) {
        const response = await fetch("/api/v1/cluster/recording", {
          method: "POST", headers: { "content-type": "application/x-ndjson" }, body: file,
        });
        const told = await response.json();
        if (!response.ok) throw new NotDone(`${file.name}: ${told.detail}`, told.code);
        events.push(...told.events);
        for (const { node, missed, reason } of told.nodes) {
          if (missed) notes.push(`${missed} older events of ${node} are not in it`);
          if (reason) notes.push(`${node} wrote it because of: ${reason}`);
        }
      }
    } catch (error) {
      tell(error instanceof NotDone ? error.message : `${names} cannot be read: ${error.message}`, "bad");
      return;
    }
    this.live = false;
    this._following = false;
    this._source?.close();
    this._source = null;
    this.faults.end();
    this.health.end();
    byId("title").textContent = names;
    byId("leave-file").hidden = false;
    byId("live").hidden = true;
    byId("balances-card").hidden = true;
    byId("time").min = 0;
    this.player.growing = false;
    this.player.play(false);
    this.clear();
    events.sort((one, other) => one.wall_us - other.wall_us);
    this.timeline.add(this.happenings.frames(events));
    tell(notes.join(". "));
    this.player.goTo(this.player.endUs); // what led to its end is what a crash's file is opened for
    document.documentElement.dataset.ready = "file";
  }

  // -- what is shown -----------------------------------------------------------------------------------------

  redraw() {
    if (this.player.tracks.length) this.player.goTo(this.player.timeUs);
  }

  select(name) {
    this.selected = name;
    this.redraw();
  }

  _draw(state, timeUs) {
    const speed = Math.min(1, Number(byId("speed").value));
    const nodes = this.live ? this.faults.paused(state.nodes) : state.nodes;
    const still = STILL.matches && this.player.playing; // nothing moves by itself for who does not want it
    const flights = still ? new Map() : this.happenings.inFlight(timeUs, SEEN_US * speed);
    const shown = { ...state, nodes, flights };
    this.network.draw(shown, timeUs, this.selected);
    this.logs.draw(shown);
    this._showWhy(shown);
  }

  _shown(timeUs) {
    this._showFollowing();
    const event = this.timeline.events[lastBefore(this.timeline.events, timeUs)];
    if (event) byId("clock").textContent = clockTime(event.wallUs + Math.max(0, Math.min(999_000, timeUs - event.timeUs)));
    this._showEvents(timeUs);
    this._showCurves(timeUs);
  }

  _showWhy(state) {
    const names = [...state.nodes.keys()].sort();
    if (!names.includes(this.selected)) {
      this.selected = names.find((name) => state.nodes.get(name).up && state.nodes.get(name).role === "leader") ?? "";
      if (!this.selected) return;
    }
    const node = state.nodes.get(this.selected);
    const last = node.logStart + node.log.length;
    const values = {
      role: node.up ? node.role : "down", term: node.term,
      vote: node.voted_for ? `for ${node.voted_for}` : "none", log: last ? `to entry ${last}` : "empty",
      commit: `to entry ${node.commit}`, applied: `to entry ${node.applied}`,
    };
    this.faults.show(this.selected, this.live);
    const key = JSON.stringify([this.selected, values, node.why]);
    if (key === this._whyKey) return;
    this._whyKey = key;
    byId("server-title").textContent = `Server ${this.selected}`;
    byId("why").replaceChildren(...WHY.flatMap(([name, title]) => [
      element("dt", {}, `${title}: ${values[name]}`),
      element("dd", { class: "quiet", "data-why": name }, node.why?.[name] ?? ""),
    ]));
  }

  _showEvents(timeUs) {
    const { events } = this.timeline;
    const shown = [];
    for (let at = lastBefore(events, timeUs); at >= 0 && shown.length < EVENTS_SHOWN; at--) {
      if (events[at].weight >= this.player.weight) shown.push(events[at]);
    }
    const key = shown.length ? `${shown[0].timeUs} ${shown[0].text} ${shown.length} ${this.player.weight}` : "";
    if (key === this._eventsKey) return;
    this._eventsKey = key;
    byId("events").replaceChildren(...shown.map((event) => {
      const text = element("button", { class: "event-text", title: "Go to this moment" }, `${clockTime(event.wallUs)}  ${event.text}`);
      on(text, "click", () => {
        this.player.play(false);
        this.player.goTo(event.timeUs);
        if (event.node) this.select(event.node);
      });
      return element("li", { class: `event ${event.kind} weight-${event.weight}` }, text);
    }));
  }

  _showCurves(timeUs) {
    const key = `${Math.floor(timeUs / 1e6)} ${this.happenings.commits.length} ${this.happenings.latencies.length}`;
    if (key === this._curvesKey) return;
    this._curvesKey = key;
    const rates = bySecond(this.happenings.commits, timeUs).map(sum);
    const rate = rates[rates.length - 1];
    const text = `${rate} ${rate === 1 ? "entry" : "entries"} in the last whole second, by the commits that the leader tells.`;
    byId("throughput-text").textContent = text;
    drawCurve(byId("throughput"), rates, "entries/s", `Entries committed a second: ${text}`);
    const medians = bySecond(this.happenings.latencies, timeUs).map(median);
    const latest = medians.findLast((value) => value !== null);
    const why = "from the request's arrival at the leader to its answer: synced on a majority, and applied.";
    const latency = latest === undefined ? `No request in the last minute; it is ${why}` : `${latest.toFixed(1)} ms, the median of a second, ${why}`;
    byId("latency-text").textContent = latency;
    drawCurve(byId("latency"), medians, "ms", `Latency: ${latency}`);
  }

  // -- balances ----------------------------------------------------------------------------------------------

  async showBalances(me) {
    if (!me.may.includes("accounts")) return;
    const money = new Money(await bank.read("/currencies"));
    const look = async () => {
      if (document.hidden || !this.live) return;
      try {
        const { accounts } = await bank.read("/accounts", { limit: ACCOUNTS_SHOWN });
        byId("balances-card").hidden = !this.live || accounts.length === 0;
        byId("balances").replaceChildren(...accounts.map(({ account, balance, currency }) => element("tr", {},
          element("th", { scope: "row" }, account), element("td", { class: "number" }, money.format(balance, currency)))));
      } catch {
        byId("balances-card").hidden = true; // a balance that nobody confirms is not shown
      }
    };
    setInterval(look, BALANCES_EVERY_MS);
    await look();
  }
}

/** Return the place of the last event at or before a moment. */
function lastBefore(events, timeUs) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].timeUs <= timeUs) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const page = new Page();
page.watch();
showHead(bank)
  .then((me) => page.showBalances(me))
  .catch((error) => tell(error.message, "bad"));
