// Elements without markup: texts are only ever set as text.

export const byId = (id) => document.getElementById(id);

/** Return an element with attributes and children; what is no node is a text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

export function on(target, event, handler) {
  target.addEventListener(event, handler);
}

export function time(us) {
  const at = new Date(us / 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const hour = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return element("time", { datetime: at.toISOString() }, `${day} ${hour}`);
}
