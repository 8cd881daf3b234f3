// "2PC, 3PC, Raft": three protocols beside each other under one fault.

import { byId, element, on } from "/static/dom.js";

const PROTOCOLS = [
  ["two_phase", "Two-phase commit"],
  ["three_phase", "Three-phase commit"],
  ["raft", "Raft"],
];

export class CommitRaces {
  constructor(page, faults) {
    this._page = page;
    this._faults = new Map(faults.map((fault) => [fault.name, fault]));
    byId("fault").replaceChildren(...faults.map((fault) => element("option", { value: fault.name }, fault.title)));
    on(byId("fault"), "change", () => this.begin());
    on(byId("panel-commit"), "submit", (event) => event.preventDefault());
  }

  async begin() {
    const page = this._page;
    const fault = this._faults.get(byId("fault").value);
    byId("fault-about").textContent = fault.what;
    const table = byId("commit-table");
    table.hidden = true;
    const timelines = page.showMany(PROTOCOLS.map(([, title]) => title));
    const run = (this._run = {});
    const rows = [];
    for (const [number, [protocol]] of PROTOCOLS.entries()) {
      const add = (frames) => {
        if (run !== this._run) return;
        const first = timelines[number].length === 0;
        timelines[number].add(frames);
        if (first) page.redraw();
      };
      byId("fault-about").textContent = `${fault.what} ${PROTOCOLS[number][1]} runs…`;
      const { result } = await page.engine.call({ do: "race", protocol, fault: fault.name }, { onFrames: add });
      if (run !== this._run) return;
      rows.push(result);
    }
    byId("fault-about").textContent = fault.what;
    table.tBodies[0].replaceChildren(...rows.map((result) => this._row(result)));
    table.hidden = false;
    page.player.goTo(800_000);
    page.player.play();
  }

  _row(result) {
    const seconds = (result.unavailable_us / 1e6).toFixed(2);
    const unavailable = result.ended ? `${seconds} s` : `${seconds} s, and still at the end`;
    const differ = result.split.length || result.balances.length > 1;
    const split = differ ? `${result.split.length} payments; the copies have ${result.balances.join(", ")}` : "none";
    return element(
      "tr",
      {},
      element("td", { class: "what-for what" }, result.protocol),
      element("td", { class: "number" }, unavailable),
      element("td", { class: differ ? "bad" : "" }, split),
      element("td", { class: "when" }, result.why),
    );
  }
}
