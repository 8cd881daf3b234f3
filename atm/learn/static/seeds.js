// "Run a seed": a run of the simulation, with its verdict.

import { byId, on } from "/static/dom.js";

export class Seeds {
  constructor(page) {
    this._page = page;
    on(byId("panel-seed"), "submit", (event) => {
      event.preventDefault();
      this.run();
    });
    on(byId("seed-next"), "click", () => {
      byId("seed").value = String(this._seed() + 1);
      this.run();
    });
    on(byId("seed"), "input", () => this._showCommand());
  }

  async begin() {
    await this.run();
  }

  _seed() {
    return Math.max(0, Number.parseInt(byId("seed").value, 10) || 0);
  }

  _showCommand() {
    byId("seed-command").textContent = `python -m tests.simulation --seeds ${this._seed()} --digest`;
  }

  async run() {
    const page = this._page;
    const seed = this._seed();
    this._showCommand();
    const timeline = page.showOne();
    const verdict = byId("verdict");
    verdict.textContent = `Seed ${seed} runs…`;
    page.player.growing = true;
    page.player.play();
    const run = (this._run = {});
    try {
      const { result, seconds } = await page.engine.call({ do: "seed", seed }, { onFrames: (frames) => timeline.add(frames) });
      if (run !== this._run) return;
      verdict.textContent = verdictText(result, seconds);
      verdict.dataset.digest = result.digest;
      verdict.dataset.seconds = seconds;
    } finally {
      if (run === this._run) page.player.growing = false;
    }
  }
}

export function verdictText(result, seconds) {
  const what = `${(result.simulated_us / 1e6).toFixed(2)} s of the bank's time in ${seconds.toFixed(1)} s`;
  if (result.promise) return `Seed ${result.seed} broke a promise: ${result.promise}. ${what}.`;
  return `Seed ${result.seed} kept every promise: ${result.commits} requests committed, ${result.terms} leaders, ${result.crashes} crashes, ${what}. Digest of the trace: ${result.digest}`;
}
