// The head of every page: links to the pages that there are, and how the bank is doing.

import { byId, element, on } from "./dom.js";

const LOOK_EVERY_MS = 10_000;

/** Fill the <nav id="pages"> and the <p id="bank"> of a page; return what /api/v1/me says. */
export async function showHead(bank) {
  watchStatus(bank);
  const me = await bank.read("/me");
  if (me.pages.length > 1) {
    byId("pages").replaceChildren(
      ...me.pages.map(({ path, title }) =>
        element("a", { href: path, "aria-current": location.pathname === path ? "page" : undefined }, title),
      ),
    );
  }
  return me;
}

function watchStatus(bank) {
  const place = byId("bank");
  const look = async () => {
    if (document.hidden) return;
    const [state, text] = await read(bank);
    if (place.textContent !== text) place.replaceChildren(element("span", { class: `dot ${state}`, "aria-hidden": "true" }), text);
  };
  setInterval(look, LOOK_EVERY_MS);
  on(document, "visibilitychange", look);
  look();
}

async function read(bank) {
  try {
    const status = await bank.read("/status");
    if (!status.available) return ["bad", "The bank is not available"];
    const up = status.nodes.filter((node) => node.role !== "down").length;
    return [up === status.nodes.length ? "good" : "fair", `${up} of ${status.nodes.length} servers`];
  } catch (error) {
    return ["bad", error.code === "not_allowed" ? "No status" : "The bank is not available"];
  }
}
