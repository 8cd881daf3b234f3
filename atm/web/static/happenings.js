// Events of real servers (docs/events.md) turned into frames, as /learn/timeline.js adds them up to states.
// It knows nothing of where they come from: a stream, or a recorder's files.

const GAP_US = 5_000_000; // a longer silence is shortened to GAP_SHOWN_US
const GAP_SHOWN_US = 1_000_000;
const LOG_KEPT = 200; // entries of each log
const LOST_US = 80_000; // a message to a server that does not answer is drawn for so long
const LATE_US = 100_000; // what comes so late, as of a server that was slow to answer, has no true place any more
const KEPT_MAX = 40_000; // flights, requests and samples

const MESSAGES = {
  pre_vote_request: "vote-request", vote_request: "vote-request", pre_vote_answer: "vote", vote_answer: "vote",
  append: "append", heartbeat: "heartbeat", append_answer: "append-answer", snapshot_offer: "snapshot",
  snapshot_answer: "append-answer", campaign_now: "order",
};
const DETAILS = new Set(["sent", "received", "append", "commit", "apply", "request", "answer", "read", "written"]);
const UNKNOWN = "This was so when the page began to watch; no event tells why.";

function newServer() {
  return {
    up: true, retired: false, role: "", term: 0, voted_for: null, leader: null, votes: [], commit: 0, saved: 0, applied: 0,
    ledger: 0, voter: true, balances: {}, logStart: 0, log: [], known: false, seen: false,
    why: { role: UNKNOWN, term: UNKNOWN, vote: UNKNOWN, log: UNKNOWN, commit: UNKNOWN, applied: UNKNOWN },
  };
}

/** Return how much an event matters: 0 is a detail, 2 a turn of the story. */
function weightOf(event) {
  if (DETAILS.has(event.kind)) return 0;
  if (event.kind === "started" || event.kind === "stopped") return 2;
  if (event.kind === "lane") return event.what === "taken" || event.what === "lost" ? 2 : 1;
  return event.kind === "role" && (event.role === "leader" || event.before === "leader") ? 2 : 1;
}

/** Return a word that the style sheet gives a colour. */
function colourOf(event) {
  switch (event.kind) {
    case "role":
      if (event.role === "leader") return "elected";
      return event.before === "leader" ? "step-down" : event.role === "follower" ? "role" : "campaign";
    case "vote":
    case "vote_received":
      return event.granted ? "elected" : "refusal";
    case "stopped":
      return "died";
    case "peer":
      return event.what === "lost" ? "refusal" : "peer";
    case "lane":
      return { taken: "elected", lost: "step-down", silent: "refusal" }[event.what] ?? "role";
    case "engine":
      return "refusal";
    default:
      return event.kind;
  }
}

const messageKey = (from, to, event) => [from, to, event.message, event.message_term, event.round, event.prev_index, event.index].join();

export class Happenings {
  constructor() {
    this.servers = new Map(); // the newest state of each
    this.flights = []; // {sender, to, kind, text, sentUs, due_us, doomed, granted}, in order; due_us may come later
    this.commits = []; // [timeUs, entries] at a leader
    this.latencies = []; // [timeUs, ms] from a request's arrival at the leader to its answer
    this.lastUs = 0;
    this._lastWallUs = 0;
    this._onTheWay = new Map(); // flights that have not arrived, by message
    this._arrived = new Map(); // request id at a node: when
    this._ops = new Map(); // request id: op
    this._entries = new Map(); // log index: op
    this._flightId = 0;
    this._membersIndex = 0; // of the entry that says who is a member
    this._cuts = new Set(); // "from to": nothing passes that way
  }

  /** Return the moment on the page's axis; it never goes back, and long silences are short there. */
  _moment(wallUs) {
    const passed = wallUs - this._lastWallUs;
    if (!this._lastWallUs) this._lastWallUs = wallUs;
    else if (passed > 0) {
      this.lastUs += passed > GAP_US ? GAP_SHOWN_US : passed;
      this._lastWallUs = wallUs;
    }
    return this.lastUs;
  }

  /** Return the frames of these events, each {..., wall_us, text}, in the order of time. */
  frames(events) {
    for (const event of events) {
      if (event.kind === "request") this._keep(this._ops, event.request, event.op);
      if (event.kind === "answer" && event.index && this._ops.has(event.request)) {
        this._keep(this._entries, event.index, this._ops.get(event.request));
      }
    }
    const frames = [];
    for (const event of events) {
      const timeUs = this._moment(event.wall_us);
      let frame = frames[frames.length - 1];
      if (frame?.time_us !== timeUs) frames.push((frame = { time_us: timeUs, events: [], nodes: {} }));
      frame.events.push({
        kind: colourOf(event), node: event.node, text: event.text, weight: weightOf(event), wallUs: event.wall_us,
      });
      this._apply(event, timeUs, frame.nodes);
    }
    this._bound();
    return frames;
  }

  /** Return a frame with something that no server has told. */
  note(text, { kind = "note", node = "", weight = 1, nodes = {} } = {}) {
    const event = { kind, node, text, weight, wallUs: this._lastWallUs };
    return { time_us: this.lastUs, events: [event], nodes };
  }

  /** Return frames that say who stopped to answer, and who answers again; `silent` names why, by server. */
  silence(silent, names) {
    const frames = [];
    for (const name of new Set([...names, ...this.servers.keys()])) {
      const server = this._server(name);
      const up = !(name in silent) && !server.retired;
      if (up === server.up) continue;
      server.up = up;
      const why = silent[name] === "does not answer" ? ": it is down, paused, or cannot be reached" : "";
      const text = up ? `${name} answers again` : server.retired ? `${name} is no member any more` : `${name} ${silent[name]}${why}`;
      if (!up) server.why.role = text;
      const changes = { up, why: { ...server.why } };
      if (!server.seen) changes.lines = [up ? "" : "not heard of", ""];
      frames.push(this.note(text, { kind: up ? "peer" : "died", node: name, weight: 2, nodes: { [name]: changes } }));
    }
    return frames;
  }

  /** Return a frame that says which links were cut and mended; `cuts` are all directions that are cut, [from, to]. */
  cut(cuts) {
    const before = this._cuts;
    this._cuts = new Set(cuts.map((direction) => direction.join(" ")));
    const changed = [...before, ...this._cuts].filter((key) => before.has(key) !== this._cuts.has(key));
    const links = new Set(changed.map((key) => key.split(" ").sort().join(" ")));
    const events = [...links].map((link) => {
      const [one, other] = link.split(" ");
      const [on, back] = [this._isCut(one, other), this._isCut(other, one)];
      const [from, to] = on ? [one, other] : [other, one];
      const oneWay = `The link from ${from} to ${to} is cut, and the way back is not`;
      const text = on !== back ? oneWay : `The link between ${one} and ${other} ${on ? "is cut" : "passes again"}`;
      return { kind: on || back ? "fault" : "peer", node: one, text, weight: 1, wallUs: this._lastWallUs };
    });
    return events.length ? [{ time_us: this.lastUs, events, nodes: {}, cuts }] : [];
  }

  _isCut(from, to) {
    return this._cuts.has(`${from} ${to}`);
  }

  /** Return a frame with what a status tells and no event has. */
  fill(status) {
    const nodes = {};
    for (const told of status.nodes) {
      const server = this._server(told.node);
      if (server.known || !server.seen || told.term === null || told.term === undefined) continue;
      server.known = true;
      const changes = {};
      const take = (name, value) => {
        if (value && !server[name]) changes[name] = server[name] = value;
      };
      if (!server.term) changes.role = server.role = told.role;
      take("term", told.term);
      take("leader", told.leader);
      take("commit", told.commit_index);
      take("applied", told.applied_index);
      if (!server.log.length && !server.logStart) {
        server.logStart = told.last_index ?? 0;
        changes.saved = server.saved = server.logStart;
        changes.log = { start: server.logStart, keep: server.logStart, add: [] };
      }
      if (told.voter === false) changes.voter = server.voter = false;
      changes.up = server.up;
      changes.why = { ...server.why };
      nodes[told.node] = changes;
    }
    return Object.keys(nodes).length ? [{ time_us: this.lastUs, events: [], nodes }] : [];
  }

  _server(name) {
    let server = this.servers.get(name);
    if (!server) this.servers.set(name, (server = newServer()));
    return server;
  }

  _keep(map, key, value) {
    map.set(key, value);
    if (map.size > KEPT_MAX) map.delete(map.keys().next().value);
  }

  _bound() {
    for (const list of [this.flights, this.commits, this.latencies]) {
      if (list.length > 2 * KEPT_MAX) list.splice(0, list.length - KEPT_MAX);
    }
  }

  _apply(event, timeUs, nodes) {
    const server = this._server(event.node);
    const changes = (nodes[event.node] ??= {});
    const isLate = event.wall_us < this._lastWallUs - LATE_US;
    if (!server.seen) changes.lines = undefined;
    server.seen = true;
    const set = (name, value) => {
      if (value !== undefined && value !== server[name]) changes[name] = server[name] = value;
    };
    const why = (...names) => {
      for (const name of names) server.why[name] = event.text;
      changes.why = { ...server.why };
    };
    if (event.kind === "started") set("up", true);
    changes.up = server.up;
    if (event.term !== undefined && event.term !== server.term) {
      set("term", event.term);
      set("voted_for", null);
      if (event.kind !== "role") why("term");
      else why("term", "role");
    }
    if (event.role) set("role", event.role);
    switch (event.kind) {
      case "started":
        set("votes", []);
        set("leader", null);
        set("commit", event.commit_index ?? 0);
        this._cutLog(server, changes, event.last_index ?? 0);
        why("role", "term", "log", "commit");
        break;
      case "stopped":
        set("up", false);
        why("role");
        break;
      case "role":
        set("votes", event.votes ?? (event.role.endsWith("candidate") ? [event.node] : []));
        set("leader", event.leader ?? null);
        if (event.role === "candidate") {
          set("voted_for", event.node);
          why("vote");
        }
        why("role");
        break;
      case "leader":
        set("leader", event.leader);
        why("role");
        break;
      case "lane":
        set("leader", event.leader ?? null);
        why("role");
        break;
      case "written":
        if (!isLate) this.commits.push([timeUs, event.last_index - event.index + 1]);
        set("commit", event.last_index);
        set("applied", event.last_index);
        why("commit", "applied");
        break;
      case "vote":
        if (event.granted && !event.pre_vote) set("voted_for", event.candidate);
        why("vote");
        break;
      case "vote_received":
        if (event.counted && !server.votes.includes(event.voter)) set("votes", [...server.votes, event.voter]);
        break;
      case "append":
        this._append(server, changes, event);
        why("log");
        break;
      case "commit":
        if (event.role === "leader" && !isLate) this.commits.push([timeUs, event.last_index - event.index + 1]);
        set("commit", event.last_index);
        why("commit");
        break;
      case "apply":
        set("applied", event.last_index);
        why("applied");
        break;
      case "snapshot":
        if (event.what === "installed") {
          this._cutLog(server, changes, event.index);
          set("applied", event.index);
          set("commit", Math.max(server.commit, event.index));
          why("log", "applied", "commit");
        }
        break;
      case "membership":
        this._takeMembers(event, nodes);
        break;
      case "request":
        this._keep(this._arrived, `${event.node} ${event.request}`, event.wall_us);
        break;
      case "answer": {
        const key = `${event.node} ${event.request}`;
        const ms = (event.wall_us - this._arrived.get(key)) / 1000;
        if (event.index && ms >= 0 && !isLate) this.latencies.push([timeUs, ms]);
        this._arrived.delete(key);
        break;
      }
      case "sent":
        if (!isLate) this._send(event, timeUs);
        break;
      case "received":
        this._receive(event, timeUs);
        break;
    }
  }

  /** Note who is a member, unless a newer entry has told it: the servers are not at the same one. */
  _takeMembers(event, nodes) {
    const index = event.index ?? 0;
    if (index < this._membersIndex) return;
    this._membersIndex = index;
    const learners = event.learners ?? [];
    const members = new Set([...(event.voters ?? []), ...learners]);
    for (const name of new Set([...members, ...this.servers.keys()])) {
      const server = this._server(name);
      Object.assign(server, { retired: !members.has(name), voter: !learners.includes(name) });
      nodes[name] = { ...nodes[name], retired: server.retired, voter: server.voter, up: server.up };
    }
  }

  _cutLog(server, changes, index) {
    if (server.logStart + server.log.length === index) return;
    server.logStart = index;
    server.log = [];
    changes.saved = server.saved = index;
    changes.log = { start: index, keep: index, add: [] };
  }

  _append(server, changes, event) {
    const { last_index: last } = event;
    const first = Math.max(event.index, last - LOG_KEPT + 1);
    const joins = first === event.index && first - 1 <= server.logStart + server.log.length && first - 1 >= server.logStart;
    if (!joins) {
      server.logStart = first - 1;
      server.log = [];
    }
    const added = [];
    for (let index = first; index <= last; index++) added.push([event.last_term, this._entries.get(index) ?? ""]);
    server.log = server.log.slice(0, first - 1 - server.logStart).concat(added);
    const over = server.log.length - LOG_KEPT;
    if (over > 0) {
      server.log = server.log.slice(over);
      server.logStart += over;
    }
    changes.saved = server.saved = last;
    // A frame that has an append of this server already gets the log as it is after both.
    changes.log = changes.log
      ? { start: server.logStart, keep: server.logStart, add: server.log }
      : { start: server.logStart, keep: Math.max(first - 1, server.logStart), add: server.log.slice(Math.max(0, first - 1 - server.logStart)) };
  }

  _send(event, timeUs) {
    const flight = {
      id: this._flightId++, sender: event.node, to: event.peer, kind: MESSAGES[event.message] ?? "other",
      text: event.text, sentUs: timeUs, due_us: null, doomed: false, granted: event.granted,
    };
    if (!this._server(event.peer).up || this._isCut(event.node, event.peer)) Object.assign(flight, { doomed: true, due_us: timeUs + LOST_US });
    this.flights.push(flight);
    const key = messageKey(event.node, event.peer, event);
    const waiting = this._onTheWay.get(key);
    if (waiting) waiting.push(flight);
    else this._keep(this._onTheWay, key, [flight]);
  }

  _receive(event, timeUs) {
    const key = messageKey(event.peer, event.node, event);
    const waiting = this._onTheWay.get(key);
    if (!waiting) return;
    const flight = waiting.shift();
    flight.due_us = timeUs;
    flight.doomed = false;
    if (!waiting.length) this._onTheWay.delete(key);
  }

  /** Return the messages to be drawn at a moment; each stays in sight for `leastUs`, or nobody would see it. */
  inFlight(timeUs, leastUs) {
    const shown = new Map();
    let low = 0, high = this.flights.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.flights[middle].sentUs <= timeUs) low = middle + 1;
      else high = middle;
    }
    for (let at = low - 1; at >= 0 && timeUs - this.flights[at].sentUs < Math.max(leastUs, 2_000_000); at--) {
      const flight = this.flights[at];
      if (flight.due_us === null) continue;
      const due = Math.max(flight.due_us, flight.sentUs + leastUs);
      if (due > timeUs) shown.set(flight.id, { ...flight, due_us: due });
    }
    return shown;
  }
}
