// The statement and the holds of an account.

import { element, on, time } from "./dom.js";
import { OPS } from "./words.js";

/** Return a row of the statement. */
export function lineRow(line, money) {
  const remark = [line.code === undefined ? "" : `${line.code}`, line.text ?? ""].filter(Boolean).join(" · ");
  const amount = money.format(line.amount, line.currency);
  return element(
    "tr",
    {},
    element("td", { class: "when" }, time(line.time_us)),
    element(
      "td",
      { class: "what-for" },
      element("span", { class: "what" }, whatOf(line)),
      remark ? element("div", { class: "remark" }, remark) : "",
      element("div", { class: "mono quiet" }, line.request_id),
    ),
    element("td", { class: `number${line.amount > 0 ? " plus" : ""}` }, line.amount > 0 ? `+${amount}` : amount),
    element("td", { class: "number balance-then" }, money.format(line.balance, line.currency)),
  );
}

function whatOf(line) {
  const what = OPS[line.op] ?? line.op;
  const isOther = !/^(cash|writeoff)(:|$)/.test(line.other);
  return isOther ? `${what} ${line.amount < 0 ? "to" : "from"} ${line.other}` : what;
}

/** Return an item of the holds; `act(op, hold, amountText)` is called for its buttons. */
export function holdItem(hold, money, act) {
  const rest = hold.amount - (hold.posted ?? 0);
  const input = element("input", {
    "aria-label": `Amount to pay out of the hold ${hold.request_id}`,
    inputmode: "decimal",
    value: money.format(rest).replaceAll(",", ""),
  });
  if (hold.currency !== undefined) input.value = money.format(rest, hold.currency).replaceAll(",", "").split(" ")[0];
  const pay = element("button", { class: "little", "aria-label": `Pay out of the hold ${hold.request_id}` }, "Pay out");
  const release = element(
    "button",
    { class: "plain little", "aria-label": `Release the hold ${hold.request_id}` },
    "Release",
  );
  on(pay, "click", () => act("post", hold, input));
  on(release, "click", () => act("void", hold, input));
  return element(
    "li",
    { class: "item" },
    element(
      "div",
      { class: "row apart" },
      element("strong", { class: "number" }, `${money.format(rest, hold.currency)} held`),
      element("span", { class: "quiet small" }, "until ", time(hold.expires_us)),
    ),
    element("span", { class: "mono quiet" }, hold.request_id),
    element("div", { class: "row" }, input, pay, release),
  );
}
