// Draws the state of a cluster: servers and messages as a network, and their logs side by side.
// It knows nothing of where a state comes from (timeline.js describes one): a simulation, a file, live servers.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 340, NODE_RADIUS = 31;
const TERM_COLOURS = 6;
const LABEL_WIDTH = 52, BOX_WIDTH = 38, ROW_HEIGHT = 40, BOX_HEIGHT = 28, HEAD_HEIGHT = 20;
const SHORT = {
  "vote-request": "V?", vote: "V", append: "A", heartbeat: "", "append-answer": "", snapshot: "S", order: "!", other: "",
};

/** Make an SVG element with attributes, and put it into `parent`. */
function add(parent, name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function roleText(node, timeUs) {
  if (node.look && node.up) return node.role;
  if (!node.up) return node.retired ? "not a member" : "down";
  if (node.paused_until_us > timeUs) return "paused";
  return node.voter ? node.role : "learner";
}

/** Return what a node is, as one word for the style sheet. */
function roleClass(node, timeUs) {
  if (!node.up) return "down";
  if (node.paused_until_us > timeUs) return "paused";
  return node.look ?? node.role; // a source with other roles says which of ours they look like
}

/** The servers on a circle, the links that fail, and the messages on their way. */
export class NetworkView {
  /** `onSelect(name)` is called when a person chooses a server. */
  constructor(svg, onSelect = () => {}) {
    this._svg = svg;
    this._onSelect = onSelect;
    this._names = "";
    this._nodes = new Map();
    this._lines = new Map();
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this._links = add(svg, "g", { class: "links" });
    this._flights = add(svg, "g", { class: "flights" });
    this._servers = add(svg, "g", { class: "servers" });
  }

  draw(state, timeUs = state.timeUs, selected = "") {
    this._lay(state);
    for (const [name, node] of state.nodes) this._drawNode(name, node, timeUs, name === selected);
    this._drawLinks(state);
    this._drawFlights(state, timeUs);
  }

  _lay(state) {
    const names = [...state.nodes.keys()].sort();
    if (names.join() === this._names) return;
    this._names = names.join();
    this._servers.replaceChildren();
    this._links.replaceChildren();
    this._nodes.clear();
    this._lines.clear();
    names.forEach((name, number) => {
      const angle = -Math.PI / 2 + (2 * Math.PI * number) / names.length;
      const x = WIDTH / 2 + (WIDTH / 2 - 66) * Math.cos(angle);
      const y = HEIGHT / 2 + 2 + (HEIGHT / 2 - 62) * Math.sin(angle);
      this._nodes.set(name, { x, y });
    });
    for (const one of names) {
      for (const other of names) {
        if (one < other) {
          const [a, b] = [this._nodes.get(one), this._nodes.get(other)];
          this._lines.set(`${one} ${other}`, add(this._links, "line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: "link" }));
        }
      }
    }
    for (const name of names) {
      const place = this._nodes.get(name);
      const group = add(this._servers, "g", { transform: `translate(${place.x} ${place.y})`, tabindex: "0", role: "button" });
      group.addEventListener("click", () => this._onSelect(name));
      group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          this._onSelect(name);
        }
      });
      place.group = group;
      place.ring = add(group, "circle", { r: NODE_RADIUS + 5, class: "ring" });
      place.disc = add(group, "circle", { r: NODE_RADIUS, class: "disc" });
      add(group, "text", { y: -7, class: "name" }, name);
      place.term = add(group, "text", { y: 8, class: "term" });
      place.votes = add(group, "text", { y: 21, class: "votes" });
      place.role = add(group, "text", { y: NODE_RADIUS + 18, class: "role" });
    }
  }

  _drawNode(name, node, timeUs, selected) {
    const place = this._nodes.get(name);
    const role = roleText(node, timeUs);
    const votes = node.votes.length ? `${node.votes.length} vote${node.votes.length === 1 ? "" : "s"}` : node.voted_for ? `→ ${node.voted_for}` : "";
    place.group.setAttribute("class", `server ${roleClass(node, timeUs)}${selected ? " selected" : ""}`);
    place.group.setAttribute("aria-pressed", String(selected));
    const voted = node.votes.length ? `votes of ${node.votes.join(", ")}` : node.voted_for ? `voted for ${node.voted_for}` : "no vote";
    const [first, second] = node.lines ?? [`term ${node.term}`, node.up ? votes : ""];
    const label = node.lines ? node.lines.join(", ") : `term ${node.term}, ${voted}, committed up to ${node.commit}`;
    place.group.setAttribute("aria-label", `Server ${name}: ${role}, ${label}`);
    place.term.textContent = first;
    place.votes.textContent = second;
    place.role.textContent = role;
  }

  _drawLinks(state) {
    const cut = new Map();
    for (const [from, to] of state.cuts) {
      const key = from < to ? `${from} ${to}` : `${to} ${from}`;
      cut.set(key, (cut.get(key) ?? 0) + 1);
    }
    for (const [key, line] of this._lines) {
      const ways = cut.get(key) ?? 0;
      line.setAttribute("class", ways === 2 ? "link cut" : ways === 1 ? "link half-cut" : "link");
    }
  }

  _drawFlights(state, timeUs) {
    const drawn = [];
    for (const flight of state.flights.values()) {
      const [from, to] = [this._nodes.get(flight.sender), this._nodes.get(flight.to)];
      if (!from || !to) continue;
      const whole = Math.max(1, flight.due_us - flight.sentUs);
      let share = Math.min(1, Math.max(0, (timeUs - flight.sentUs) / whole));
      if (flight.doomed && share > 0.5) continue;
      drawn.push({ flight, x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share });
    }
    while (this._flights.children.length > drawn.length) this._flights.lastChild.remove();
    while (this._flights.children.length < drawn.length) {
      const group = add(this._flights, "g");
      add(group, "title");
      add(group, "circle", { r: 5 });
      add(group, "text", { y: 3 });
    }
    drawn.forEach(({ flight, x, y }, number) => {
      const group = this._flights.children[number];
      const short = SHORT[flight.kind] ?? "";
      const refused = flight.granted === false ? " refused" : "";
      group.setAttribute("class", `flight ${flight.kind}${refused}${flight.doomed ? " doomed" : ""}`);
      group.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      group.children[0].textContent = `${flight.sender} → ${flight.to}: ${flight.text}`;
      group.children[1].setAttribute("r", short ? 9 : flight.kind === "heartbeat" ? 3.5 : 4.5);
      group.children[2].textContent = flight.granted === false ? "✗" : short;
    });
  }
}

/** The logs side by side, newest entries to the right, one row for each server. */
export class LogView {
  constructor(svg) {
    this._svg = svg;
    this._drawn = "";
  }

  draw(state) {
    const width = Math.max(280, this._svg.parentElement.clientWidth);
    const names = [...state.nodes.keys()].sort();
    const columns = Math.max(4, Math.floor((width - LABEL_WIDTH - 2) / BOX_WIDTH));
    const nodes = names.map((name) => state.nodes.get(name));
    const last = Math.max(0, ...nodes.map((node) => node.logStart + node.log.length));
    const first = Math.max(1, last - columns + 1);
    const key = [width, first, ...nodes.map((node) => [node.up, node.commit, node.saved, node.applied, node.logStart, node.log.length, ...node.log.slice(-columns)].join())].join(";");
    if (key === this._drawn) return;
    this._drawn = key;
    const height = HEAD_HEIGHT + ROW_HEIGHT * names.length;
    this._svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this._svg.setAttribute("width", width);
    this._svg.setAttribute("height", height);
    this._svg.replaceChildren();
    add(this._svg, "text", { x: 2, y: 13, class: "index" }, "entry");
    for (let index = first; index <= Math.max(last, first + 3); index++) {
      add(this._svg, "text", { x: LABEL_WIDTH + (index - first + 0.5) * BOX_WIDTH, y: 13, class: "index middle" }, String(index));
    }
    names.forEach((name, row) => this._drawRow(name, nodes[row], row, first, last));
  }

  _drawRow(name, node, row, first, last) {
    const y = HEAD_HEIGHT + row * ROW_HEIGHT;
    const group = add(this._svg, "g", { class: node.up ? "log" : "log down", role: "img" });
    const committed = `${name}: entries up to ${node.logStart + node.log.length}, committed up to ${node.commit}, applied up to ${node.applied}`;
    group.setAttribute("aria-label", committed);
    add(group, "text", { x: 2, y: y + 20, class: `label ${node.up ? node.role : "down"}` }, name);
    for (let index = first; index <= last; index++) {
      const x = LABEL_WIDTH + (index - first) * BOX_WIDTH;
      if (index <= node.logStart) {
        add(group, "rect", { x: x + 2, y: y + 4, width: BOX_WIDTH - 4, height: BOX_HEIGHT, class: "box snapshot" });
        continue;
      }
      const entry = node.log[index - node.logStart - 1];
      if (!entry) continue;
      const state = index <= node.commit ? " committed" : index <= node.saved ? " saved" : " unsaved";
      const box = add(group, "g", { class: `box-group${state}` });
      add(box, "title", {}, `Entry ${index} of term ${entry[0]}: ${entry[1] || "a command"} (${index <= node.applied ? "applied" : state.trim()})`);
      add(box, "rect", { x: x + 2, y: y + 4, width: BOX_WIDTH - 4, height: BOX_HEIGHT, class: `box term-${entry[0] % TERM_COLOURS}` });
      add(box, "text", { x: x + BOX_WIDTH / 2, y: y + 16, class: "box-term" }, String(entry[0]));
      add(box, "text", { x: x + BOX_WIDTH / 2, y: y + 28, class: "box-text" }, shortened(entry[1]));
    }
    if (node.commit >= first) this._mark(group, first, node.commit, y, "commit-mark");
    if (node.applied >= first) this._mark(group, first, node.applied, y, "applied-mark");
  }

  _mark(group, first, index, y, kind) {
    const x = LABEL_WIDTH + (index - first + 1) * BOX_WIDTH - 1;
    if (kind === "commit-mark") add(group, "line", { x1: x, x2: x, y1: y + 1, y2: y + BOX_HEIGHT + 7, class: kind });
    else add(group, "path", { d: `M ${x - 5} ${y + BOX_HEIGHT + 10} l 5 -6 l 5 6 z`, class: kind });
  }
}

/** Return a few letters of what an entry asks for. */
function shortened(text) {
  const [op, amount] = (text ?? "").split(" ");
  const signs = { credit: "+", debit: "−" };
  if (signs[op]) return signs[op] + (amount ?? "").replace(/\.00$/, "").slice(0, 5);
  return { founding: "start", members: "memb.", feature: "level" }[op] ?? (op ?? "").slice(0, 5);
}
