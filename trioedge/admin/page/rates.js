/** Live sessions and rates over fifteen minutes, and the latency ledger. */
import { Chart } from "./chart.js";
import { make } from "./make.js";
import { Table } from "./table.js";
import { count, each, micros, percent, rate } from "./words.js";

export function rates(page, root) {
  let seconds = 5;
  const charts = [];
  const read = (at) => charts.forEach((chart) => chart.look(at));
  const add = (label, lines, words) => charts.push(new Chart(label, lines, words, read));
  add("Live sessions", [{ name: "", kind: "one", of: (point) => point.live }], count);
  add("Admissions a second", [{ name: "", kind: "two", of: (point) => Math.max(0, point.accepted - point.refused) / seconds }], each);
  add("Refusals a second", [{ name: "", kind: "bad", of: (point) => point.refused / seconds }], each);
  add("Bytes", [
    { name: "up", kind: "one", of: (point) => point.bytes_up / seconds },
    { name: "down", kind: "two", of: (point) => point.bytes_down / seconds },
  ], rate);
  root.append(make("div", { class: "charts" }, ...charts.map((chart) => chart.root)));
  return {
    always: true, // the refusals count it, too
    async refresh() {
      page.history = await page.edge.ask("/v1/history");
      seconds = page.history.seconds;
      for (const chart of charts) chart.show(page.history.points);
    },
  };
}

const HUES = 8;

export function stages(page, root) {
  const whole = make("div", { class: "stack", "aria-hidden": "true" });
  const hue = (item) => `hue-${item.place % HUES}`;
  const table = new Table("The stages of an admission", [
    ["stage", "", (item) => [make("i", { class: `swatch ${hue(item)}` }), item.stage]],
    ["kind", "wide quiet", (item) => item.kind],
    ["share", "number", (item) => percent(item.share)],
    ["calls", "number wide", (item) => count(item.calls)],
    ["mean", "number wide", (item) => micros(item.mean_micros)],
    ["p50", "number", (item) => micros(item.p50_micros)],
    ["p99", "number", (item) => micros(item.p99_micros)],
  ], (item) => item.place, { none: "No session has passed the chain." });
  root.append(whole, table.root);
  return {
    every: 10_000,
    async refresh() {
      const items = (await page.edge.ask("/v1/stage-times")).items.map((item, place) => ({ ...item, place }));
      whole.replaceChildren(...items.filter((item) => item.share > 0).map((item) => {
        const part = make("span", { class: hue(item), title: `${item.stage}: ${percent(item.share)}` }, item.share > 0.14 ? item.stage : "");
        part.style.flexGrow = item.share;
        return part;
      }));
      table.show(items);
    },
  };
}

