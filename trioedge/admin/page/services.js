/** The services: their limits and the use of them, and the devices of one. */
import { button, make, put, terms, use } from "./make.js";
import { Table } from "./table.js";
import { cut } from "./dialogs.js";
import { bytes, count, rate, some, span } from "./words.js";

const PAGE = 20;

export function services(page, root) {
  let order = "live";
  let cursors = [null]; // of the pages up to this one
  let begin = null;
  const field = make("input", { type: "search", id: "prefix", maxlength: "255", placeholder: "all", autocomplete: "off", spellcheck: "false", input: () => restart() });
  const where = make("span", { class: "quiet" });
  const back = button("Back", () => {
    cursors.pop();
    begin();
  });
  let next = null;
  const on = button("Next", () => {
    cursors.push(next);
    begin();
  });
  const left = (item) => (item.refusal ? make("mark", {}, item.refusal.split(":")[0]) : item.enabled ? "open" : make("mark", {}, "disabled"));
  const table = new Table("Services", [
    ["name", "name", (item) => item.name, "name"],
    ["live", "number bars", (item) => use(item.live, item.max_sessions, count), "live"],
    ["sources", "number widest", (item) => count(item.sources)],
    ["opened", "number widest", (item) => count(item.opened)],
    ["bytes", "number", (item) => bytes(item.bytes_up + item.bytes_down), "bytes"],
    ["quota", "number bars widest", (item) => (item.quota_bytes == null ? "–" : use(item.quota_used, item.quota_bytes, bytes))],
    ["new a second", "number widest", (item) => count(item.session_rate)],
    ["rate up / down", "number widest", (item) => (item.up_rate ?? item.down_rate ?? null) === null ? "–" : `${rate(item.up_rate)} / ${rate(item.down_rate)}`],
    ["state", "", left],
  ], (item) => item.name, { open, order, none: "There is no such service.", sort: (wanted) => {
    order = wanted;
    restart();
  } });

  function restart() {
    cursors = [null];
    begin();
  }

  async function open(item, place) {
    let kept = place.firstChild;
    if (!kept) {
      kept = make("div", { class: "service" }, make("div"), make("h4", {}, "Devices"), make("div"), button("Cut its sessions", () => cut(page.edge, { service: item.name }, `of ${item.name}`, begin), { class: "danger" }));
      kept.devices = devicesTable(page, item.name, () => open(item, place));
      kept.children[2].append(kept.devices.root);
      place.append(kept);
    }
    put(kept.firstChild, terms([
      ["state", item.refusal ?? (item.enabled ? "open" : "disabled")],
      ["live", item.max_sessions == null ? count(item.live) : `${count(item.live)} of ${count(item.max_sessions)}`],
      ["sources", count(item.sources)],
      ["opened", count(item.opened)],
      ["sessions a second", item.session_rate == null ? "" : `${count(item.session_rate)}, ${count(item.session_burst)} at once`],
      ["up", bytes(item.bytes_up) + (item.up_rate == null ? "" : `, at most ${rate(item.up_rate)}`)],
      ["down", bytes(item.bytes_down) + (item.down_rate == null ? "" : `, at most ${rate(item.down_rate)}`)],
      ["quota", item.quota_bytes == null ? "" : `${bytes(item.quota_used)} of ${bytes(item.quota_bytes)}`],
      ["expires", item.expires_at == null ? "" : new Date(item.expires_at * 1000).toISOString().slice(0, 16).replace("T", " ")],
      ["cannot listen", item.listen_errors.join("; ")],
    ]));
    try {
      kept.devices.show((await page.edge.ask(`/v1/services/${encodeURIComponent(item.name)}/devices`)).items);
    } catch (error) {
      kept.devices.show([]);
      put(kept.devices.nothing, error.message || "The edge does not answer.");
    }
  }

  root.append(make("form", { class: "choices", submit: (event) => event.preventDefault() },
    make("label", { for: "prefix" }, "Name begins with"), field, make("span", { class: "space" }), where, back, on),
    table.root, make("p", { class: "quiet", id: "devices" }, "A name opens the service's limits, its devices, and a button that cuts its sessions."));
  begin = async () => {
    const prefix = field.value;
    const after = cursors.at(-1);
    const said = await page.edge.ask("/v1/services", { order, prefix, after, limit: PAGE });
    if (prefix !== field.value) return; // an answer to a question that is no longer asked
    next = order === "name" ? said.next : null;
    back.disabled = cursors.length < 2;
    on.disabled = next === null;
    put(where, order === "name" ? `page ${cursors.length}` : said.next || said.items.length === PAGE ? `the first ${PAGE}` : some(said.items.length, "service"));
    table.sorted(order);
    table.show(said.items);
  };
  page.pick = (name) => {
    field.value = name;
    restart();
    root.scrollIntoView();
    field.focus({ preventScroll: true });
  };
  return { refresh: begin };
}

const STATES = { fresh: "online", stale: "checked again", unknown: "in grace", denied: "denied" };

function devicesTable(page, service, changed) {
  return new Table(`Devices of ${service}`, [
    ["device", "name", (item) => item.device],
    ["state", "", (item) => (item.state === "fresh" ? STATES.fresh : make("mark", { class: item.state === "denied" ? "" : "mild" }, STATES[item.state] ?? item.state))],
    ["sessions", "number", (item) => count(item.sessions)],
    ["until", "number wide", (item) => (span(item.until))],
    ["detail", "wide", (item) => item.detail || "–"],
    ["", "", (item) => button("Cut", () => cut(page.edge, { service, device: item.device }, `of ${item.device}`, changed), { "aria-label": `cut ${item.device}` })],
  ], (item) => item.device, { none: "It has no device." });
}
