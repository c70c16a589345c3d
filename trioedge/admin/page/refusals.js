/** Why sessions are refused, which ones lately, and who has most sessions and bytes. */
import { button, make, put, share } from "./make.js";
import { Table } from "./table.js";
import { endedTable } from "./explained.js";
import { bytes, count } from "./words.js";

const RECENT = 10;

export function refusals(page, root) {
  let only = null;
  let most = 1;
  const filter = make("p", { class: "quiet" });
  const reasons = new Table("Refusals by reason", [
    ["reason", "", (item) => button(item.reason, () => choose(item.reason), { class: "link", "aria-pressed": String(item.reason === only) })],
    ["15 minutes", "number bars", (item) => share(count(item.lately), item.lately / most, "bad")],
    ["in all", "number", (item) => count(item.whole)],
  ], (item) => item.reason, { none: "No session was refused." });
  const lately = endedTable("The latest refusals", page, "None is remembered.");
  root.append(reasons.root, make("h3", { id: "recent" }, "The latest"), filter, lately.root);
  let refresh = null;

  function choose(reason) {
    only = reason === only ? null : reason;
    lately.show([]);
    refresh();
  }

  refresh = async () => {
    const [history, said, recent] = await Promise.all([
      page.history ?? page.edge.ask("/v1/history"), page.statistics ?? page.edge.ask("/v1/statistics"),
      page.edge.ask("/v1/recent", { kind: "refused", reason: only, limit: RECENT }),
    ]);
    const sums = {};
    for (const point of history.points) for (const [reason, number] of Object.entries(point.refused_by)) sums[reason] = (sums[reason] ?? 0) + number;
    const items = Object.entries(said.refused).filter(([, whole]) => whole).map(([reason, whole]) => ({ reason, whole, lately: sums[reason] ?? 0 }));
    items.sort((one, other) => other.lately - one.lately || other.whole - one.whole);
    most = Math.max(1, ...items.map((item) => item.lately));
    reasons.show(items);
    put(filter, only ? [`Only ${only}. `, button("All reasons", () => choose(only), { class: "link" })] : "Press a reason to see only its refusals, and a time to see the steps; while one is open, no newer ones are shown.");
    if (!lately.reading) lately.show(recent.items);
  };
  return { refresh };
}

export function top(page, root) {
  const asked = { by: "source", order: "live" };
  let begin = null;
  const pick = (name, value, words) => button(words, () => {
    asked[name] = value;
    mark();
    begin();
  }, { "data-name": name, "data-value": value });
  const choices = make("div", { class: "choices" },
    make("span", { class: "group", role: "group", "aria-label": "Of what" }, pick("by", "source", "Sources"), pick("by", "service", "Services"), pick("by", "device", "Devices")),
    make("span", { class: "group", role: "group", "aria-label": "Most" }, pick("order", "live", "Sessions"), pick("order", "bytes", "Bytes")));
  const mark = () => choices.querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(asked[each.dataset.name] === each.dataset.value)));
  mark();
  const keyed = (item) => (asked.by === "source" ? page.source(item.key) : asked.by === "service"
    ? button(item.key, () => page.pick(item.key), { class: "link" }) : [item.key, item.service ? make("small", {}, ` of ${item.service}`) : null]);
  let most = 1;
  const table = new Table("Who has most", [
    ["who", "name", keyed],
    ["live", "number bars", (item) => (asked.order === "live" ? share(count(item.live), item.live / most) : count(item.live))],
    ["up", "number wide", (item) => bytes(item.bytes_up)],
    ["down", "number", (item) => bytes(item.bytes_down)],
  ], (item) => `${asked.by} ${item.service ?? ""} ${item.key}`, { none: "No session lives." });
  root.append(choices, table.root);
  begin = async () => {
    const { items } = await page.edge.ask("/v1/top", { ...asked, limit: 10 });
    most = Math.max(1, ...items.map((item) => item.live));
    table.show(items);
  };
  return { refresh: begin };
}
