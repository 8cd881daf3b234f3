// Time: play, pause, step, step back, speed, the time bar and the keys. It shows tracks, each a timeline with a
// view of its own, at one common moment.

const AHEAD_US = 60_000; // so much more is asked for before the end is reached

/** Where one timeline is drawn: `draw(state, timeUs)`. */
export class Track {
  constructor(timeline, draw, title = "") {
    this.timeline = timeline;
    this.title = title; // said before its events, where there are several tracks
    this.draw = draw;
  }
}

export class Player {
  /** `controls` are the elements by name; `onMoment(timeUs)` is called whenever another moment is shown. */
  constructor(controls, onMoment) {
    this._controls = controls;
    this._onMoment = onMoment;
    this.tracks = [];
    this.timeUs = 0;
    this.playing = false;
    this.weight = 1; // the least weight of the events that a step stops at
    this.more = null; // asks a live source for more: () => Promise
    this.stopUs = Infinity; // playing pauses there
    this._asking = false;
    this._wire();
  }

  /** Show these tracks from their beginning. */
  show(tracks, { more = null, timeUs = 0 } = {}) {
    this.tracks = tracks;
    this.more = more;
    this.stopUs = Infinity;
    this.goTo(timeUs);
  }

  get endUs() {
    return Math.max(0, ...this.tracks.map((track) => track.timeline.endUs));
  }

  /** Draw the moment `timeUs`; `exact` shows messages as just after it. */
  goTo(timeUs) {
    this.timeUs = Math.max(0, Math.min(timeUs, this.more ? timeUs : this.endUs));
    for (const track of this.tracks) {
      track.draw(track.timeline.stateAt(track.timeline.frameAt(this.timeUs)), this.timeUs);
    }
    this._showTime();
    this._onMoment(this.timeUs);
  }

  play(playing = true) {
    if (playing === this.playing) return;
    this.playing = playing;
    const run = this._controls.run;
    run.textContent = playing ? "❚❚" : "▶︎";
    run.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (playing) {
      if (!this.more && this.timeUs >= this.endUs) this.goTo(0);
      this._shownAt = performance.now();
      requestAnimationFrame((now) => this._run(now));
    }
  }

  /** Go to the next moment at which something happened, or with -1 to the last one before. */
  async step(direction) {
    this.play(false);
    let found = this._eventTime(direction);
    for (let tries = 0; found === undefined && direction > 0 && this.more && tries < 40; tries++) {
      await this._ask();
      found = this._eventTime(direction);
    }
    if (found !== undefined) this.goTo(found);
    else if (!this.more) this.goTo(direction > 0 ? this.endUs : 0);
  }

  _eventTime(direction) {
    let found;
    for (const { timeline } of this.tracks) {
      const { events } = timeline;
      let low = 0, high = events.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (events[middle].timeUs > this.timeUs || (direction < 0 && events[middle].timeUs >= this.timeUs)) high = middle;
        else low = middle + 1;
      }
      let at = direction > 0 ? low : low - 1;
      while (events[at] && events[at].weight < this.weight) at += direction;
      const time = events[at]?.timeUs;
      if (time !== undefined && (found === undefined || (direction > 0 ? time < found : time > found))) found = time;
    }
    return found;
  }

  _run(now) {
    if (!this.playing) return;
    const speed = Number(this._controls.speed.value);
    const passedUs = Math.min(100, now - this._shownAt) * 1000 * speed;
    this._shownAt = now;
    const end = this.endUs;
    let timeUs = this.timeUs + passedUs;
    if (this.more) {
      if (timeUs + AHEAD_US * Math.max(1, speed * 4) > this.readyUs) this._ask();
      timeUs = Math.min(timeUs, Math.max(this.readyUs, this.timeUs));
    } else if (timeUs >= end && !this.growing) {
      this.goTo(end);
      this.play(false);
      return;
    }
    if (!this.more) timeUs = Math.min(timeUs, end);
    if (this.timeUs < this.stopUs && timeUs >= this.stopUs) {
      this.goTo(this.stopUs);
      this.play(false);
      return;
    }
    this.goTo(timeUs);
    requestAnimationFrame((next) => this._run(next));
  }

  async _ask() {
    if (this._asking) return this._asking;
    this._asking = this.more().finally(() => (this._asking = false));
    return this._asking;
  }

  _showTime() {
    const { time, clock } = this._controls;
    const end = Math.max(this.endUs, this.more ? this.readyUs ?? 0 : 0, 1);
    time.max = end;
    time.value = this.timeUs;
    const text = `${(this.timeUs / 1e6).toFixed(3)} s`;
    clock.textContent = text;
    time.setAttribute("aria-valuetext", text);
  }

  _wire() {
    const { back, run, step, time, speed } = this._controls;
    back.addEventListener("click", () => this.step(-1));
    step.addEventListener("click", () => this.step(1));
    run.addEventListener("click", () => this.play(!this.playing));
    time.addEventListener("input", () => {
      this.play(false);
      this.goTo(Number(time.value));
    });
    document.addEventListener("keydown", (event) => {
      const inField = event.target.closest("input, select, textarea, pre");
      if (inField || event.ctrlKey || event.altKey || event.metaKey) return;
      const onButton = event.target.closest("button, [role=button], a, summary");
      const keys = {
        ArrowLeft: () => this.step(-1),
        ArrowRight: () => this.step(1),
        " ": () => !onButton && (this.play(!this.playing), true),
        "+": () => this._faster(1),
        "-": () => this._faster(-1),
        Home: () => this.goTo(0),
      };
      if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
    });
    speed.addEventListener("change", () => (this._shownAt = performance.now()));
  }

  _faster(by) {
    const { speed } = this._controls;
    speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + by));
  }
}
