/** The way of one session through the chain, and tables of sessions, live and ended. */
import { bar, button, make, terms } from "./make.js";
import { Table } from "./table.js";
import { cut } from "./dialogs.js";
import { bytes, clock, count, micros, span } from "./words.js";

/** The steps of a session: what each stage decided, and how long it took. */
export function steps(list) {
  const most = Math.max(1, ...list.map((step) => step.micros ?? 0));
  const rows = list.map((step) => make("tr", {},
    make("th", { scope: "row" }, step.stage),
    make("td", {}, ["continue", "connected"].includes(step.verdict) ? step.verdict : make("mark", {}, step.verdict), step.detail ? `: ${step.detail}` : ""),
    make("td", { class: "number" }, micros(step.micros)),
    make("td", { class: "wide" }, bar((step.micros ?? 0) / most))));
  const heads = ["stage", "verdict", "time"].map((head) => make("th", { scope: "col", class: head === "time" ? "number" : null }, head));
  return make("table", { class: "steps" }, make("caption", { class: "unseen" }, "Steps"), make("thead", {}, make("tr", {}, ...heads, make("td", { class: "wide" }))), make("tbody", {}, ...rows));
}

/** Everything about a session that is no step. */
export function facts(session) {
  return terms([
    ["session", session.id == null ? "" : `${session.id}`],
    ["worker", session.worker == null ? "" : String(session.worker)],
    ["ended", session.ended_at == null ? "" : `${clock(session.ended_at)}, after ${span(session.seconds)}`],
    ["reason", session.reason],
    ["detail", session.detail],
    ["stage", session.stage],
    ["service", session.service],
    ["source", session.source],
    ["peer", session.peer === session.source ? "" : session.peer],
    ["device", session.device],
    ["listener", session.listener],
    ["upstream", session.upstream],
    ["phase", session.phase === "ended" ? "" : session.phase],
    ["age", session.ended_at == null ? span(session.age_seconds) : ""],
    ["idle", session.idle_seconds == null ? "" : span(session.idle_seconds)],
    ["up", bytes(session.bytes_up)],
    ["down", bytes(session.bytes_down)],
  ]);
}

/** A table of sessions that have ended or were refused; each opens to its steps. */
export function endedTable(label, page, none) {
  return new Table(label, [
    ["ago", "", (item) => span(Math.max(1, Math.round(Date.now() / 1000 - item.ended_at)))],
    ["reason", "", (item) => (item.kind === "refused" ? make("mark", {}, item.reason) : item.reason)],
    ["source", "", (item) => page.source(item.source)],
    ["service", "wide name", (item) => item.service],
    ["stage", "wide", (item) => item.stage || "–"],
  ], (item) => `${item.worker} ${item.id}`, {
    none,
    open: (item, place) => place.hasChildNodes() || place.append(steps(item.steps), facts(item)),
  });
}

/** A table of live sessions; each opens to its explanation. */
export function liveTable(page, changed) {
  async function open(item, place) {
    let said;
    try {
      said = await page.edge.ask(`/v1/sessions/${item.id}`);
    } catch (error) {
      if (!place.hasChildNodes()) place.append(make("p", { class: "fault" }, error.message || "The edge does not answer."));
      return;
    }
    const evict = place.querySelector("button") ?? button("Cut this session", () => cut(page.edge, { session: item.id }, `session ${item.id}`, changed), { class: "danger" });
    const kept = document.activeElement === evict;
    place.replaceChildren(steps(said.steps), facts(said.session), evict);
    if (kept) evict.focus({ preventScroll: true });
  }
  return new Table("Live sessions", [
    ["session", "", (item) => String(item.id)],
    ["service", "name", (item) => item.service],
    ["source", "wide", (item) => page.source(item.source)],
    ["phase", "wide", (item) => item.phase],
    ["age", "number", (item) => span(item.age_seconds)],
    ["idle", "number widest", (item) => span(item.idle_seconds)],
    ["up", "number wide", (item) => bytes(item.bytes_up)],
    ["down", "number", (item) => bytes(item.bytes_down)],
    ["device", "widest", (item) => item.device ?? "–"],
    ["upstream", "widest mono", (item) => item.upstream ?? "–"],
  ], (item) => item.id, { open, none: "No session lives." });
}

