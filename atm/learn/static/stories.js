// "Guided stories": a figure of the paper in steps, each with its text.

import { byId, element, on } from "/static/dom.js";

export class Stories {
  constructor(page, stories) {
    this._page = page;
    this._stories = stories;
    byId("story").replaceChildren(
      ...stories.map((story) => element("option", { value: story.name }, story.title)),
    );
    on(byId("story"), "change", () => this.begin());
    on(byId("story-on"), "click", () => this._go(this._place + 1));
    on(byId("story-back"), "click", () => this._go(this._place - 1));
  }

  async begin() {
    const page = this._page;
    const name = byId("story").value;
    const story = this._stories.find((each) => each.name === name);
    byId("story-about").textContent = story.about;
    this._scenes = []; // those of the story before are not gone on with
    byId("story-text").hidden = true;
    const timeline = page.showOne();
    const { result } = await page.engine.call({ do: "story", name }, { onFrames: (frames) => timeline.add(frames) });
    this._scenes = result; // [{text, begin_us, end_us}]
    this._go(0);
  }

  _go(place) {
    const scenes = this._scenes ?? [];
    if (place < 0 || place >= scenes.length) return;
    this._place = place;
    const { player } = this._page;
    const { text, begin_us: begin, end_us: end } = scenes[place];
    const note = byId("story-text");
    note.hidden = false;
    note.textContent = text;
    byId("story-place").textContent = `${place + 1} of ${scenes.length}`;
    byId("story-back").disabled = place === 0;
    byId("story-on").disabled = place === scenes.length - 1;
    player.play(false);
    player.goTo(begin);
    player.stopUs = end;
    if (end > begin) player.play();
  }
}
