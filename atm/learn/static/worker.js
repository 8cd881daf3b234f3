// Runs the project's Python. Messages in: {id, request}. Messages out: {stage}, {ready}, {failed}, and for each
// request {id, frames}… and {id, reply} or {id, error}.

import { loadPyodide } from "/learn/assets/pyodide.mjs";

const wheels = JSON.parse(new URL(import.meta.url).searchParams.get("wheels"));

async function unpack(pyodide, url, format, options) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  pyodide.unpackArchive(await answer.arrayBuffer(), format, options);
}

let lessons, planted;

async function start() {
  postMessage({ stage: "Loading Python (13 MB, from this server)" });
  const pyodide = await loadPyodide({ indexURL: "/learn/assets/" });
  postMessage({ stage: "Loading SQLite and the message codec" });
  for (const wheel of wheels) await unpack(pyodide, `/learn/assets/${wheel}`, "wheel");
  postMessage({ stage: "Loading the bank's own code" });
  await unpack(pyodide, "/learn/sources.zip", "zip", { extractDir: "/project" });
  pyodide.runPython(pyodide.FS.readFile("/project/lessons/boot.py", { encoding: "utf8" }));
  const plant = pyodide.globals.get("plant");
  lessons = pyodide.globals.get("load")();
  planted = "";
  onmessage = ({ data }) => {
    try {
      if ((data.defect ?? "") !== planted) {
        // The defect's lines take the place of the right ones, and all modules are loaded anew.
        postMessage({ id: data.id, stage: data.defect ? "Planting the defect" : "Loading the right code again" });
        lessons = plant(lessons, data.defect ?? "");
        planted = data.defect ?? "";
      }
      const reply = lessons.call(data.request, (frames) => postMessage({ id: data.id, frames }));
      postMessage({ id: data.id, reply });
    } catch (error) {
      postMessage({ id: data.id, error: String(error.message ?? error) });
    }
  };
  postMessage({ ready: lessons.call('{"do": "about"}', () => {}) });
}

start().catch((error) => postMessage({ failed: String(error.message ?? error) }));
