// Two small curves over the last minute before a moment: entries committed a second, and latency.

const SVG = "http://www.w3.org/2000/svg";
const SECONDS = 60;
const WIDTH = 300, HEIGHT = 84, TOP = 6, BASE = 70;

function add(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function firstAfter(samples, timeUs) {
  let low = 0, high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle][0] <= timeUs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the values of each whole second before `timeUs`, the oldest first. */
export function bySecond(samples, timeUs) {
  const end = Math.floor(timeUs / 1e6);
  const seconds = Array.from({ length: SECONDS }, () => []);
  for (let at = firstAfter(samples, (end - SECONDS) * 1e6 - 1); at < samples.length && samples[at][0] < end * 1e6; at++) {
    seconds[Math.floor(samples[at][0] / 1e6) - end + SECONDS].push(samples[at][1]);
  }
  return seconds;
}

export function sum(values) {
  return values.reduce((one, other) => one + other, 0);
}

export function median(values) {
  if (!values.length) return null;
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1];
}

function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value);
}

/** Draw values, one a second; null is a gap. `says` is the text alternative. */
export function drawCurve(svg, values, unit, says) {
  const top = niceTop(Math.max(1, ...values.map((value) => value ?? 0)));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", says);
  svg.replaceChildren();
  add(svg, "line", { x1: 0, x2: WIDTH, y1: BASE, y2: BASE, class: "axis" });
  add(svg, "line", { x1: 0, x2: WIDTH, y1: TOP, y2: TOP, class: "grid" });
  add(svg, "text", { x: 2, y: TOP + 11 }, `${top} ${unit}`);
  add(svg, "text", { x: 2, y: HEIGHT - 2 }, "60 s before");
  add(svg, "text", { x: WIDTH - 2, y: HEIGHT - 2, class: "end" }, "now shown");
  const points = [[]];
  values.forEach((value, number) => {
    if (value === null) points.push([]);
    else points[points.length - 1].push([(number * WIDTH) / (SECONDS - 1), BASE - (value / top) * (BASE - TOP)]);
  });
  for (const line of points) {
    if (line.length === 1) add(svg, "circle", { cx: line[0][0], cy: line[0][1], r: 2, class: "point" });
    if (line.length > 1) add(svg, "polyline", { points: line.map((at) => at.map((n) => n.toFixed(1)).join()).join(" "), class: "curve" });
  }
}
