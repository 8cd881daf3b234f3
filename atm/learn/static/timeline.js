// Frames added up to states. A frame (lessons/frames.py) says what one moment changed; a state is all that is
// so at one moment. States are never changed, so old ones can be kept and gone back to.

const KEYFRAME_EVERY = 200;

/** Return the state before anything has happened. */
export function emptyState() {
  return { timeUs: 0, nodes: new Map(), flights: new Map(), cuts: [], frame: -1 };
}

const NEW_NODE = {
  up: false, retired: false, role: "down", term: 0, voted_for: null, leader: null, votes: [], commit: 0,
  saved: 0, applied: 0, ledger: 0, match: {}, voter: true, balances: {}, paused_until_us: 0,
  logStart: 0, log: [],
};

/** Return the state after `frame`. */
export function withFrame(state, frame) {
  const timeUs = frame.time_us;
  const next = { timeUs, nodes: state.nodes, flights: state.flights, cuts: frame.cuts ?? state.cuts, frame: state.frame + 1 };
  if (frame.nodes) {
    next.nodes = new Map(state.nodes);
    for (const [name, changes] of Object.entries(frame.nodes)) {
      next.nodes.set(name, withChanges(state.nodes.get(name) ?? NEW_NODE, changes));
    }
  }
  if (frame.sent || frame.gone || state.flights.size) {
    next.flights = new Map();
    for (const [id, flight] of state.flights) {
      if (!(flight.doomed && flight.due_us < timeUs)) next.flights.set(id, flight);
    }
    for (const flight of frame.sent ?? []) next.flights.set(flight.id, { ...flight, sentUs: timeUs });
    for (const [id] of frame.gone ?? []) next.flights.delete(id);
  }
  return next;
}

function withChanges(node, changes) {
  const { log, ...rest } = changes;
  const next = { ...node, ...rest };
  if (log) {
    const first = Math.max(0, log.start - node.logStart); // entries that a snapshot has taken the place of
    const kept = log.start < node.logStart ? [] : node.log.slice(first, Math.max(first, log.keep - node.logStart));
    next.logStart = log.start;
    next.log = kept.concat(log.add);
  }
  return next;
}

/** All frames so far, and the state at any of them. */
export class Timeline {
  constructor() {
    this.clear();
  }

  clear() {
    this.frames = [];
    this.events = []; // {frame, timeUs, kind, node, text, why, weight}, in order
    this._keys = [emptyState()];
    this._last = emptyState();
    this._at = emptyState();
  }

  get length() {
    return this.frames.length;
  }

  get endUs() {
    return this.frames.length ? this.frames[this.frames.length - 1].time_us : 0;
  }

  add(frames) {
    for (const frame of frames) {
      const number = this.frames.push(frame) - 1;
      for (const event of frame.events ?? []) {
        this.events.push({ weight: 1, why: "", ...event, frame: number, timeUs: frame.time_us });
      }
      this._last = withFrame(this._last, frame);
      if ((number + 1) % KEYFRAME_EVERY === 0) this._keys.push(this._last);
    }
  }

  /** Return the state after frame `number`; -1 is before the first. */
  stateAt(number) {
    if (number < this._at.frame || number - this._at.frame > KEYFRAME_EVERY) {
      this._at = this._keys[Math.min(this._keys.length - 1, Math.floor((number + 1) / KEYFRAME_EVERY))];
    }
    while (this._at.frame < number) this._at = withFrame(this._at, this.frames[this._at.frame + 1]);
    return this._at;
  }

  /** Return the number of the last frame at or before this time. */
  frameAt(timeUs) {
    let low = -1, high = this.frames.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.frames[middle].time_us <= timeUs) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Return the next frame after `number` (or, with step -1, before it) in which something of this weight happened. */
  nextEvent(number, step, weight) {
    for (let at = number + step; at >= 0 && at < this.frames.length; at += step) {
      if ((this.frames[at].events ?? []).some((event) => (event.weight ?? 1) >= weight)) return at;
    }
    return step > 0 ? this.frames.length - 1 : Math.min(number, 0);
  }
}
