/** The edge as a whole: its head, its workers, its control plane, its drain, and what a snapshot would do. */
import { make, put, say, terms } from "./make.js";
import { Table } from "./table.js";
import { ago, count, millis, some, span } from "./words.js";

const SILENT = 1_000; // milliseconds without a sign of life of a worker until the page marks it; 250 are usual

export function header(page) {
  const at = (id) => document.getElementById(id);
  return {
    async refresh() {
      this.show(await page.edge.ask("/v1/statistics"));
    },
    show(said) {
      page.statistics = said;
      document.title = `${said.edge || "edge"} · ${count(said.live)} live`;
      say(at("name"), said.edge || "edge");
      say(at("phase"), said.phase);
      at("phase").className = `pill ${said.phase === "serving" ? "good" : "bad"}`;
      say(at("facts"), `${said.version ? `trioedge ${said.version} · ` : ""}up ${span(said.uptime_seconds)} · ${count(said.live)} live, ${count(said.in_handshake)} in handshake · ${count(said.accepted)} accepted`);
      page.showWorkers?.(said);
    },
  };
}

export function workers(page, root) {
  const slow = (item) => item.stall_ms >= SILENT;
  const table = new Table("Workers", [
    ["worker", "", (item) => String(item.number)],
    ["state", "", (item) => (item.state === "ready" ? item.state : make("mark", {}, item.state))],
    ["live", "number", (item) => count(item.live)],
    ["accepted", "number", (item) => count(item.accepted)],
    ["silent", "number", (item) => (slow(item) ? make("mark", {}, millis(item.stall_ms)) : millis(item.stall_ms))],
    ["pid", "number wide", (item) => String(item.pid ?? "–")],
    ["generation", "number wide", (item) => String(item.generation ?? "–")],
  ], (item) => `${item.generation} ${item.number}`, { none: "no answer yet" });
  root.append(table.root);
  page.showWorkers = (said) => {
    const missing = said.missing.map((number) => ({ number, state: "no answer", live: null, accepted: null, stall_ms: null }));
    table.show([...said.workers, ...missing]);
    const stalled = said.workers.filter(slow);
    page.attend("workers", missing.length ? `worker ${missing.map((each) => each.number).join(", ")} did not answer`
      : stalled.length ? `worker ${stalled.map((each) => each.number).join(", ")} gives no sign of life` : "");
  };
  return { every: 60_000, refresh: async () => {} };
}

export function control(page, root) {
  const place = make("div");
  const reports = make("div");
  root.append(place, make("h3", { id: "reports" }, "Reports"), reports);
  return {
    always: true,
    async refresh() {
      const said = await page.edge.ask("/v1/state");
      const failing = said.failing_since == null ? "" : ` for ${span(Math.max(1, Date.now() / 1000 - said.failing_since))}`;
      put(place, terms([
        ["state", said.error ? make("mark", {}, `silent${failing}`) : said.applied_at == null ? "no snapshot yet" : "answers"],
        ["version", said.version && make("span", { class: "mono" }, said.version)],
        ["applied", said.applied_at == null ? "" : ago(said.applied_at)],
        ["services", count(said.services)],
        ["listeners of services", said.listeners ? count(said.listeners) : ""],
        ["error", said.error],
        ["not listening", said.listen_errors?.length ? make("ul", {}, ...said.listen_errors.map((each) => make("li", {}, each))) : ""],
      ]));
      put(reports, terms([
        ["state", said.report_error ? make("mark", {}, "not acknowledged") : "acknowledged"],
        ["unreported", some(said.unreported, "service")],
        ["oldest of them", said.report_lag ? span(said.report_lag) : ""],
        ["last acknowledged", said.reported ? `number ${count(said.reported)}` : "none"],
        ["error", said.report_error],
      ]));
      page.attend("control", said.error ? `the control plane is silent${failing}` : said.listen_errors?.length ? `${some(said.listen_errors.length, "listener")} of services cannot open` : "");
      page.attend("reports", said.report_error ? "reports are not acknowledged" : "");
    },
  };
}

export function drain(page, root) {
  const place = make("div");
  root.append(place);
  return {
    async refresh() {
      const said = await page.edge.ask("/v1/drain");
      const draining = said.phase === "draining";
      const older = (page.statistics?.workers ?? []).filter((each) => each.state === "draining");
      put(place, [
        terms([
          ["phase", draining ? make("mark", {}, said.phase) : said.phase],
          [draining ? "still live" : "would drain", some(said.live, "session")],
          [draining ? "cut in" : "", draining ? span(said.deadline_seconds) : ""],
          ["older workers that drain", older.map((each) => `${each.number}: ${some(each.live, "session")}`).join(", ")],
        ]),
        make("p", { class: "quiet" }, draining ? "The edge accepts no session, and ends when the last one has ended." : "A restart with workers refuses nothing: the old workers keep their sessions until they end."),
      ]);
    },
  };
}

export function plan(page, root) {
  const field = make("textarea", { id: "snapshot", rows: "4", spellcheck: "false", class: "mono", "aria-describedby": "snapshot-says" });
  const file = make("input", { type: "file", id: "snapshot-file", change: async () => (field.value = (await file.files[0]?.text()) ?? "") });
  const answer = make("pre", { hidden: true, tabindex: "0", "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    let words;
    try {
      words = (await page.edge.ask("/v1/plan", {}, "POST", field.value, "application/x-ndjson")).says;
    } catch (error) {
      words = error.message || "The edge does not answer.";
    }
    answer.hidden = false;
    say(answer, words);
  };
  root.append(make("form", { class: "plan", submit },
    make("p", { class: "quiet", id: "snapshot-says" }, "The lines of a snapshot, as the control plane gives them. Nothing is applied."),
    make("label", { for: "snapshot" }, "Lines"), field,
    make("p", { class: "choices" }, make("label", { for: "snapshot-file" }, "From a file"), file, make("button", { class: "main" }, "Plan"))), answer);
  return { every: 3_600_000, refresh: async () => {} };
}
