// Kill, pause, resume and start servers, cut and mend links, where bin/run has started them and this web server.

import { byId, element, on } from "./dom.js";

const FAULTS = "/api/v1/cluster/faults";
const LOOK_EVERY_MS = 1_000;
const CAN = { running: ["kill", "pause"], paused: ["resume", "kill"], stopped: ["start"] };
const DOES = {
  kill: "is killed as by a power cut (SIGKILL). If it led, the others hear no heartbeat and elect another leader after an election timeout",
  pause: "is paused (SIGSTOP): it answers nothing, and does not know that time passes. If it led, the others elect another leader",
  resume: "goes on (SIGCONT). If it led before, it hears of the higher term, steps down, and catches up",
  start: "is started: it reads its log from its disk, hears the leader, and catches up",
};
const NOTHING = { servers: {}, linked: [], cuts: [] };

const bothWays = (one, other) => [[one, other], [other, one]];

export class Faults {
  constructor(onChange) {
    this._onChange = onChange;
    this._situation = NOTHING; // servers: running, paused or stopped, by name; linked: names; cuts: [from, to]
    for (const button of document.querySelectorAll("[data-fault]")) {
      const { fault } = button.dataset;
      on(button, "click", () => this._do({ fault, node: this._name }, `${this._name} ${DOES[fault]}.`));
    }
    on(byId("isolate"), "click", () => this._isolate());
    on(byId("mend-all"), "click", () => this._do({ fault: "mend", links: this.cuts },
      "All links pass again. A server that could not hear the others learns their term, and catches up."));
  }

  async begin() {
    clearInterval(this._timer);
    if (await this._look()) this._timer = setInterval(() => document.hidden || this._look(), LOOK_EVERY_MS);
  }

  end() {
    clearInterval(this._timer);
    this._situation = NOTHING;
  }

  /** The directions in which nothing passes, each [from, to]. */
  get cuts() {
    return this._situation.cuts;
  }

  /** Return the servers with those as paused that are. */
  paused(nodes) {
    const { servers } = this._situation;
    if (!Object.values(servers).includes("paused")) return nodes;
    return new Map([...nodes].map(([name, node]) =>
      [name, servers[name] === "paused" ? { ...node, up: true, paused_until_us: Infinity } : node]));
  }

  show(name, live) {
    this._name = name;
    const state = live ? this._situation.servers[name] : undefined;
    byId("faults").hidden = state === undefined;
    for (const button of document.querySelectorAll("[data-fault]")) button.hidden = !CAN[state]?.includes(button.dataset.fault);
    this._showLinks(live);
  }

  _isCut(from, to) {
    return this.cuts.some(([one, other]) => one === from && other === to);
  }

  _showLinks(live) {
    const { linked, cuts } = this._situation;
    const others = live && linked.includes(this._name) ? linked.filter((name) => name !== this._name) : [];
    byId("links").hidden = others.length === 0;
    byId("mend-all").disabled = cuts.length === 0;
    const shown = [this._name, ...others].join();
    if (shown !== this._shown) {
      this._shown = shown;
      byId("link-list").replaceChildren(...others.map((other) => this._row(this._name, other)));
    }
    for (const row of byId("link-list").children) row.show();
  }

  /** Return the row of a link, which shows how it is and what can be done. */
  _row(name, other) {
    const told = element("span");
    const link = `The link between ${name} and ${other}`;
    const button = (text, more, fault, links, sentence) => {
      const made = element("button", { class: "plain little", ...(more && { "aria-label": `${text} ${more}` }) }, text);
      on(made, "click", () => this._do({ fault, links }, sentence));
      return made;
    };
    const cut = (from, to) => button(`Cut ${from} → ${to}`, "", "cut", [[from, to]],
      `What ${from} sends to ${to} does not arrive, and what ${to} sends to ${from} does.`);
    const buttons = {
      cut: button("Cut", `the link to ${other}`, "cut", bothWays(name, other),
        `${link} is cut: nothing passes either way, and neither end is told. What they send waits, and a connection on which something waits for 3 s is given up.`),
      to: cut(name, other),
      from: cut(other, name),
      mend: button("Mend", `the link to ${other}`, "mend", bothWays(name, other), `${link} passes again.`),
    };
    const row = element("li", { class: "row" }, told, ...Object.values(buttons));
    row.show = () => {
      const [to, from] = bothWays(name, other).map((direction) => this._isCut(...direction));
      const how = to && from ? "cut" : to ? `cut from ${name} to ${other}` : from ? `cut from ${other} to ${name}` : "whole";
      told.textContent = `Link to ${other}: ${how}`;
      buttons.cut.hidden = to && from;
      buttons.to.hidden = buttons.from.hidden = to || from;
      buttons.mend.hidden = !to && !from;
    };
    return row;
  }

  _isolate() {
    const name = this._name;
    const links = this._situation.linked.filter((other) => other !== name).flatMap((other) => bothWays(name, other));
    this._do({ fault: "cut", links }, `${name} is cut off from all others. If it leads, no majority answers it: it commits nothing, and leads no more after an election timeout; the others elect another leader.`);
  }

  async _look() {
    try {
      const response = await fetch(FAULTS);
      const told = await response.json();
      if (!response.ok || !told.available) return false;
      this._take(told);
      return true;
    } catch {
      return true; // it may come back
    }
  }

  _take({ servers, linked, cuts }) {
    const situation = { servers, linked, cuts };
    if (JSON.stringify(situation) === JSON.stringify(this._situation)) return;
    this._situation = situation;
    this._onChange();
  }

  async _do(fault, sentence) {
    const say = (text, kind = "") => byId("fault-told").replaceChildren(element("span", { class: kind }, text));
    const clicked = document.activeElement;
    try {
      const response = await fetch(FAULTS, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(fault),
      });
      const told = await response.json();
      if (!response.ok) throw new Error(told.detail);
      this._take(told);
      say(sentence);
    } catch (error) {
      say(`Not done: ${error.message}`, "wrong");
      await this._look();
    }
    // Whoever uses the keyboard goes on beside a button that is not offered any more.
    if (clicked?.hidden || clicked?.disabled) clicked.parentElement.querySelector("button:not([hidden], [disabled])")?.focus();
  }
}
