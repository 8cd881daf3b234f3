// "Find the defect": a seed that a planted defect breaks, a question, and the line.

import { byId, element, on } from "/static/dom.js";

export class Defects {
  constructor(page, defects) {
    this._page = page;
    this._defects = defects;
    byId("defect").replaceChildren(
      ...defects.map((defect, number) => element("option", { value: number }, `${number + 1}: ${defect.title}`)),
    );
    on(byId("defect"), "change", () => this.begin());
    on(byId("panel-defect"), "submit", (event) => {
      event.preventDefault();
      this._watch();
    });
  }

  async begin() {
    this._chosen = this._defects[Number(byId("defect").value) || 0];
    for (const id of ["defect-found", "defect-question", "defect-answer", "defect-line"]) byId(id).hidden = true;
    this._page.showOne();
  }

  async _watch() {
    const page = this._page;
    await this.begin();
    const defect = this._chosen;
    const timeline = page.showOne();
    const found = byId("defect-found");
    found.hidden = false;
    found.textContent = `Seed ${defect.seed} runs with the defect…`;
    const { result } = await page.engine.call(
      { do: "seed", seed: defect.seed },
      { defect: defect.name, onFrames: (frames) => defect === this._chosen && timeline.add(frames) },
    );
    if (defect !== this._chosen) return;
    document.getElementById("told").replaceChildren();
    found.textContent = result.promise
      ? `After ${(result.simulated_us / 1e6).toFixed(3)} s a promise is broken: ${result.story}`
      : "This seed kept every promise: the defect does not show here any more.";
    found.dataset.promise = result.promise ?? "";
    page.player.goTo(Math.max(0, timeline.endUs - 150_000));
    page.player.play();
    this._diff = result.diff;
    this._ask(defect);
  }

  _ask(defect) {
    const question = byId("defect-question");
    question.hidden = false;
    byId("defect-rules").replaceChildren(
      ...defect.rules.map((rule, number) => {
        const radio = element("input", { type: "radio", name: "rule", value: number });
        on(radio, "change", () => this._answer(defect, number));
        return element("label", {}, radio, rule);
      }),
    );
  }

  async _answer(defect, number) {
    const answer = byId("defect-answer");
    const right = number === defect.answer;
    answer.hidden = false;
    answer.className = `note ${right ? "good" : "fair"}`;
    answer.textContent = right ? "Yes." : "Not that one. Step back from the end, and look at what is said with ALTHOUGH.";
    if (!right) return;
    const { result } = await this._page.engine.call({ do: "explain", name: defect.name }, { defect: defect.name });
    answer.textContent = `Yes: ${result}. This is the change:`;
    const lines = byId("defect-line");
    lines.hidden = false;
    lines.replaceChildren(
      ...this._diff.split("\n").map((line) => {
        const kind = line.startsWith("-") ? "minus" : line.startsWith("+") ? "plus" : "";
        return element("span", { class: kind }, `${line}\n`);
      }),
    );
  }
}
