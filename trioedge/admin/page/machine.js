/** The upstreams, and how near the machine is to its limits. */
import { make, put, terms, use } from "./make.js";
import { Table } from "./table.js";
import { bytes, count, millis, some } from "./words.js";

const STALL = 100; // milliseconds that a loop is held until the page marks it
const NEAR = 0.8; // of a limit

export function upstreams(page, root) {
  const table = new Table("Upstreams", [
    ["address", "name mono", (item) => item.address],
    ["health", "", (item) => (item.healthy ? "well" : make("mark", {}, "failing"))],
    ["connects", "number wide", (item) => count(item.connects)],
    ["failures", "number", (item) => (item.failures ? make("mark", { class: "mild" }, count(item.failures)) : "0")],
    ["p50", "number wide", (item) => millis(item.connect_ms.p50)],
    ["p99", "number", (item) => millis(item.connect_ms.p99)],
    ["in flight", "number wide", (item) => count(item.in_flight)],
    ["idle", "number wide", (item) => count(item.idle)],
  ], (item) => `${item.group} ${item.address}`, {
    none: "No upstream was connected to.",
    open: (item, place) => put(place, terms([
      ["group", item.group], ["slowest connect", millis(item.connect_ms.max)], ["connects", count(item.connects)],
      ["in flight", count(item.in_flight)], ["idle", count(item.idle)], ["last error", item.last_error || "none"],
    ])),
  });
  root.append(table.root);
  return {
    always: true,
    async refresh() {
      const { items } = await page.edge.ask("/v1/upstreams");
      table.show(items);
      const ill = items.filter((item) => !item.healthy);
      page.attend("upstreams", ill.length ? `${some(ill.length, "upstream")} failing` : "");
    },
  };
}

export function machine(page, root) {
  const place = make("div");
  const table = new Table("Tables and limits", [
    ["limit", "name", (item) => [`${item.name} `, near(item) ? make("mark", {}, item.used >= item.limit ? "full" : "near its limit") : null]],
    ["use", "number bars", (item) => use(item.used, item.limit, count)],
  ], (item) => item.name);
  root.append(place, table.root);
  let overflows = null; // of the whole machine since its start, when this page was opened
  const near = (item) => item.limit > 0 && item.used / item.limit >= NEAR;
  return {
    always: true,
    async refresh() {
      const said = await page.edge.ask("/v1/machine");
      const tables = said.tables.map((each) => ({ name: each.name, used: each.used, limit: each.capacity }));
      const limits = [{ name: "descriptors", ...said.descriptors }, ...tables];
      overflows ??= said.listen_overflows;
      const more = said.listen_overflows - overflows;
      const stall = said.loop_stall_ms;
      put(place, terms([
        ["memory", bytes(said.memory_bytes)],
        ["longest hold of the loop", make("span", { id: "loop" }, stall >= STALL ? make("mark", {}, millis(stall)) : millis(stall))],
        ["clients dropped at a full backlog", [count(said.listen_overflows), more ? make("mark", {}, ` ${count(more)} of them since this page is open`) : null]],
      ]));
      table.show(limits);
      const tight = limits.filter(near);
      page.attend("machine", tight.length ? `${tight.map((item) => item.name).join(", ")}: near the limit` : stall >= STALL ? `the loop was held for ${millis(stall)}` : "");
    },
  };
}
