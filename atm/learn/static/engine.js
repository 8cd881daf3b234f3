// The Python in its worker, as promises.

/** Starts the worker; `onStage(text)` tells what it is doing. */
export class Engine {
  constructor(wheels, onStage) {
    this._calls = new Map();
    this._number = 0;
    this._onStage = onStage;
    this.ready = new Promise((resolve, reject) => {
      const url = `/learn/worker.js?wheels=${encodeURIComponent(JSON.stringify(wheels))}`;
      this._worker = new Worker(trusted(url), { type: "module" });
      this._worker.addEventListener("message", ({ data }) => this._take(data, resolve, reject));
      this._worker.addEventListener("error", (event) => {
        reject(new Error(event.message || "the worker could not be loaded"));
        for (const call of this._calls.values()) call.reject(new Error(event.message));
      });
    });
  }

  _take(data, resolve, reject) {
    if (data.ready) return resolve(JSON.parse(data.ready).result);
    if (data.failed) return reject(new Error(data.failed));
    if (data.stage) return this._onStage(data.stage);
    if (!data.frames) this._onStage("");
    const call = this._calls.get(data.id);
    if (!call) return undefined;
    if (data.frames) return call.onFrames(JSON.parse(data.frames));
    this._calls.delete(data.id);
    if (data.error) return call.reject(new Error(data.error));
    const { result, seconds } = JSON.parse(data.reply);
    return call.resolve({ result, seconds });
  }

  /** Do something in Python, with `defect` planted; resolve to {result, seconds}. */
  call(request, { onFrames = () => {}, defect = "" } = {}) {
    const id = ++this._number;
    return new Promise((resolve, reject) => {
      this._calls.set(id, { resolve, reject, onFrames });
      this._worker.postMessage({ id, request: JSON.stringify(request), defect });
    });
  }
}

/** Where a policy asks for it, say that this address is ours and made of no input. */
function trusted(url) {
  if (!globalThis.trustedTypes) return url;
  return trustedTypes.createPolicy("learn-worker", { createScriptURL: (text) => text }).createScriptURL(url);
}
