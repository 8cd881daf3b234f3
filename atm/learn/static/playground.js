// "Make the faults": a cluster that a person breaks and mends.

import { byId, element, on } from "/static/dom.js";

const CHUNK_US = 40_000; // so much time passes in Python at once
const AMOUNT = /^(?:0|[1-9]\d{0,8})(?:\.(\d{1,2}))?$/;

export class Playground {
  constructor(page) {
    this._page = page;
    this._asked = Promise.resolve();
    const server = (what, ...args) => () => this._act(what, [page.selected, ...args]);
    on(byId("kill"), "click", server("kill"));
    on(byId("power"), "click", server("power_cut"));
    on(byId("start"), "click", server("start"));
    on(byId("pause-server"), "click", server("pause", 1_000_000));
    on(byId("isolate"), "click", server("isolate"));
    on(byId("mend"), "click", () => this._act("mend", []));
    on(byId("cut"), "click", () => this._act("cut", [page.selected, byId("link-to").value]));
    on(byId("query"), "click", server("query"));
    for (const what of ["credit", "debit"]) on(byId(what), "click", () => this._move(what));
    on(byId("again"), "click", () => this.begin());
  }

  async begin() {
    const page = this._page;
    byId("panel-play").inert = true; // until there are servers
    this._timeline = page.showOne({ more: () => this._more() });
    page.player.readyUs = 0;
    page.onSelect = (name) => this._select(name);
    const luck = Math.max(0, Number.parseInt(byId("luck").value, 10) || 1);
    const { result: names } = await this._call({ do: "playground", luck });
    byId("servers").replaceChildren(
      ...names.map((name) => {
        const radio = element("input", { type: "radio", name: "server", value: name });
        on(radio, "change", () => this._select(name));
        return element("label", {}, radio, name);
      }),
    );
    this._names = names;
    this._select(names[0]);
    byId("panel-play").inert = false;
    page.player.goTo(this._timeline.events.find((event) => event.kind === "campaign")?.timeUs ?? 0);
    page.player.play();
  }

  _select(name) {
    const page = this._page;
    page.selected = name;
    for (const radio of document.querySelectorAll("#servers input")) radio.checked = radio.value === name;
    byId("link-to").replaceChildren(...this._names.filter((other) => other !== name).map((other) => element("option", {}, other)));
    page.redraw();
  }

  _move(what) {
    const text = byId("amount").value.trim();
    const match = AMOUNT.exec(text);
    const minor = match ? Math.round(Number(text) * 100) : 0;
    byId("amount-wrong").hidden = minor > 0;
    if (minor > 0) this._act(what, [this._page.selected, minor]);
  }

  /** What a person does happens at the newest moment: show that one. */
  async _act(what, args) {
    const { player } = this._page;
    await this._call({ do: "act", what, args, advance_us: 1_000 });
    if (player.timeUs < player.readyUs - 1_000) player.goTo(player.readyUs - 1_000);
    player.play();
  }

  async _more() {
    await this._call({ do: "act", what: "", args: [], advance_us: CHUNK_US * Math.max(1, 4 * Number(byId("speed").value)) });
  }

  _call(request) {
    const timeline = this._timeline;
    this._asked = this._asked
      .catch(() => {})
      .then(() => this._page.engine.call(request, { onFrames: (frames) => timeline.add(frames) }))
      .then((reply) => {
        if (reply.result.now_us !== undefined) this._page.player.readyUs = reply.result.now_us;
        return reply;
      });
    return this._asked;
  }
}
