// The page: its modes, each with a panel of controls, around one player.

import { byId, element, on } from "/static/dom.js";
import { LogView, NetworkView } from "/learn/cluster_view.js";
import { Engine } from "/learn/engine.js";
import { Player, Track } from "/learn/player.js";
import { Timeline } from "/learn/timeline.js";
import { Playground } from "/learn/playground.js";
import { Seeds } from "/learn/seeds.js";
import { Stories } from "/learn/stories.js";
import { Defects } from "/learn/defects.js";
import { CommitRaces } from "/learn/commit.js";

const EVENTS_SHOWN = 40;

class Page {
  constructor(engine) {
    this.engine = engine;
    this.selected = "";
    this.logs = new LogView(byId("logs"));
    const controls = Object.fromEntries(["back", "run", "step", "time", "clock", "speed"].map((id) => [id, byId(id)]));
    this.player = new Player(controls, (timeUs) => this._showEvents(timeUs));
    on(byId("details"), "change", () => {
      this.player.weight = byId("details").checked ? 0 : 1;
      this._showEvents(this.player.timeUs);
    });
    new ResizeObserver(() => this.redraw()).observe(byId("logs").parentElement);
  }

  redraw() {
    if (this.player.tracks.length) this.player.goTo(this.player.timeUs);
  }

  /** Show one cluster; return its timeline. */
  showOne({ more = null } = {}) {
    const timeline = new Timeline();
    const [view] = this._makeTracks([""]);
    byId("logs-card").hidden = false;
    const draw = (state, timeUs) => {
      view.draw(state, timeUs, this.selected);
      this.logs.draw(state);
      this._showBalances(state);
    };
    this.player.show([new Track(timeline, draw)], { more });
    return timeline;
  }

  /** Show several clusters beside each other, by title; return their timelines. */
  showMany(titles) {
    byId("logs-card").hidden = true;
    const views = this._makeTracks(titles);
    const tracks = views.map((view, number) => new Track(new Timeline(), (state, timeUs) => view.draw(state, timeUs), titles[number]));
    this.player.show(tracks);
    return tracks.map((track) => track.timeline);
  }

  _makeTracks(titles) {
    this.player.play(false);
    const place = byId("tracks");
    place.replaceChildren();
    place.dataset.count = titles.length;
    return titles.map((title) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("class", "cluster-network");
      svg.setAttribute("role", "group");
      svg.setAttribute("aria-label", title ? `${title}: servers and messages` : "Servers and messages");
      const card = element("div", { class: "card network" });
      if (title) card.append(element("h2", {}, title));
      card.append(svg);
      place.append(card);
      return new NetworkView(svg, (name) => this.onSelect(name));
    });
  }

  onSelect(name) {
    this.selected = name;
    this.redraw();
  }

  _showEvents(timeUs) {
    const several = this.player.tracks.length > 1;
    const weight = several && this.player.weight ? 2 : this.player.weight; // of several only what matters most
    const found = [];
    for (const { timeline, title } of this.player.tracks) {
      const { events } = timeline;
      let at = lastBefore(events, timeUs);
      for (let shown = 0; at >= 0 && shown < EVENTS_SHOWN; at--) {
        if (events[at].weight < weight) continue;
        found.push({ ...events[at], title });
        shown++;
      }
    }
    found.sort((one, other) => other.timeUs - one.timeUs);
    const shown = found.slice(0, EVENTS_SHOWN);
    const key = shown.length ? `${shown[0].timeUs} ${shown[0].text} ${shown.length} ${weight}` : "";
    if (key === this._eventsKey) return;
    this._eventsKey = key;
    byId("events").replaceChildren(
      ...shown.map((event) => {
        const item = element("li", { class: `event ${event.kind} weight-${event.weight}` });
        const text = element("button", { class: "event-text", title: "Go to this moment" }, `${(event.timeUs / 1e6).toFixed(3)}  ${event.title ? `${event.title}: ` : ""}${event.text}`);
        on(text, "click", () => {
          this.player.play(false);
          this.player.goTo(event.timeUs);
        });
        item.append(text);
        if (event.why) item.append(element("p", { class: "why" }, event.why));
        return item;
      }),
    );
  }

  _showBalances(state) {
    const names = [...state.nodes.keys()].sort();
    const accounts = [...new Set(names.flatMap((name) => Object.keys(state.nodes.get(name).balances)))].sort();
    const rows = accounts.map((account) => [account, ...names.map((name) => {
      const node = state.nodes.get(name);
      return node.up && account in node.balances ? (node.balances[account] / 100).toFixed(2) : "–";
    })]);
    const key = JSON.stringify([names, rows]);
    if (key === this._balancesKey) return;
    this._balancesKey = key;
    byId("balances").parentElement.hidden = rows.length === 0;
    byId("balance-head").replaceChildren(element("tr", {}, element("th", { scope: "col" }, "Account"), ...names.map((name) => element("th", { scope: "col", class: "number" }, name))));
    byId("balances").replaceChildren(...rows.map(([account, ...values]) =>
      element("tr", {}, element("th", { scope: "row" }, account), ...values.map((value) => element("td", { class: "number" }, value)))));
  }
}

function lastBefore(events, timeUs) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].timeUs <= timeUs) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function tell(text, kind = "") {
  byId("told").replaceChildren(...(text ? [element("p", { class: `note ${kind}`, id: "stage" }, text)] : []));
}

async function begin() {
  showPages();
  const state = await (await fetch("/learn/state.json")).json();
  if (state.missing.length) {
    tell(`Python for browsers is not here yet. Run this once, then reload: ${state.command}`, "fair");
    return;
  }
  const startedMs = performance.now();
  const engine = new Engine(state.wheels, (text) => tell(text));
  const about = await engine.ready;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  byId("engine").textContent = `Python ${about.python} and SQLite ${about.sqlite}, ready after ${seconds} s.`;
  document.documentElement.dataset.ready = seconds;
  tell("");
  const page = new Page(engine);
  const modes = {
    play: new Playground(page), seed: new Seeds(page), story: new Stories(page, about.stories),
    defect: new Defects(page, about.defects), commit: new CommitRaces(page, about.faults),
  };
  const choose = (name) => {
    for (const key of Object.keys(modes)) byId(`panel-${key}`).hidden = key !== name;
    page.onSelect = Page.prototype.onSelect;
    history.replaceState(null, "", `#${name}`);
    modes[name].begin().catch((error) => tell(error.message, "bad"));
  };
  byId("modes").disabled = false;
  for (const radio of document.querySelectorAll("#modes input")) {
    on(radio, "change", () => choose(radio.value));
    if (location.hash === `#${radio.value}`) radio.checked = true;
  }
  choose(document.querySelector("#modes input:checked").value);
}

async function showPages() {
  try {
    const { showHead } = await import("/static/nav.js");
    const { Bank } = await import("/static/atm-client.js");
    await showHead(new Bank());
  } catch {
    // The lessons need no bank.
  }
}

begin().catch((error) => tell(`This did not work: ${error.message}. Reload the page to try again.`, "bad"));
