/** The page: which sections there are, and when each of them asks the edge. */
import { Edge, Refused, Unanswered } from "./edge.js";
import { announce, button, make, say } from "./make.js";
import { span } from "./words.js";
import { enterToken } from "./dialogs.js";
import { control, drain, header, plan, workers } from "./state.js";
import { rates, stages } from "./rates.js";
import { refusals, top } from "./refusals.js";
import { services } from "./services.js";
import { lookup } from "./lookup.js";
import { machine, upstreams } from "./machine.js";

const SLOWEST = 10_000; // milliseconds between two tries to reach an edge that is lost
const SOON = 2_500; // after an event, so that a flood of them asks no more often

const edge = new Edge(enterToken);
const wrongs = new Map();

/** What the sections share. */
const page = {
  edge,
  statistics: null,
  history: null,
  /** Look a source or a session up. */
  look: () => {},
  /** Show the services whose names begin like this. */
  pick: () => {},
  /** Say what needs attention in a section, or "" for nothing. */
  attend(id, words) {
    if ((wrongs.get(id) ?? "") === words) return;
    wrongs.set(id, words);
    const wrong = [...wrongs].filter(([, each]) => each);
    document.getElementById("attention").replaceChildren(
      ...(wrong.length ? wrong.map(([where, each]) => make("li", { class: "wrong" }, make("a", { href: `#${where}` }, each))) : [make("li", {}, "Nothing needs attention.")]),
    );
  },
  /** A button that looks a source up. */
  source: (source) => button(source, () => page.look(source), { class: "link mono", "aria-label": `look up ${source}` }),
};

/** A section: `every` milliseconds it asks; one that is `always` there asks out of view, too, a third as often. */
class Section {
  due = 0;
  busy = false;
  seen = false;
  failures = 0;

  constructor(id, begin) {
    this.root = document.getElementById(id);
    Object.assign(this, { every: 5_000, always: false }, begin(page, this.root));
    this.fault = make("p", { class: "fault", hidden: true });
    this.root.querySelector("h2")?.after(this.fault);
  }

  async run() {
    this.busy = true;
    try {
      await this.refresh();
      this.failures = 0;
      this.fault.hidden = true;
    } catch (error) {
      if (!(error instanceof Unanswered || error instanceof Refused)) console.error(error);
      this.failures += 1;
      this.fault.hidden = error instanceof Unanswered;
      if (!this.fault.hidden) say(this.fault, `This cannot be shown: ${error.message}.`);
    }
    this.busy = false;
    const pause = this.failures ? Math.min(SLOWEST, 500 * 2 ** this.failures) : this.every * (this.seen ? 1 : 3);
    this.due = performance.now() + pause;
  }
}

const head = new Section("main", header);
const sections = {};
for (const begin of [rates, workers, control, stages, refusals, services, lookup, top, machine, upstreams, drain, plan]) {
  sections[begin.name] = new Section(begin.name, begin);
}
const all = [head, ...Object.values(sections)];
head.seen = true;

const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const section = sections[target.id];
    if (isIntersecting && !section.seen) section.due = Math.min(section.due, performance.now() + 50);
    section.seen = isIntersecting;
  }
}, { rootMargin: "200px" });
for (const section of Object.values(sections)) watch.observe(section.root);

let streaming = false;
let told = false;

function tick() {
  if (document.hidden) return;
  const { lost } = edge;
  const line = document.getElementById("line");
  document.body.classList.toggle("lost", lost > 0);
  const seconds = Math.round(lost / 1000);
  say(line, edge.locked ? "locked" : lost ? `no answer since ${span(seconds)}` : page.statistics ? (streaming ? "live" : "asking each 5 s") : "connecting");
  line.className = `pill ${lost ? "bad" : "good"}`;
  if (lost > 0 !== told) {
    told = lost > 0;
    announce(told ? "The edge does not answer." : "The edge answers again.");
    if (!told) for (const section of all) section.due = 0;
  }
  if (edge.locked) return;
  for (const section of all) {
    const wanted = section === head ? !streaming || lost : page.statistics && !edge.failing && (section.seen || section.always);
    if (wanted && !section.busy && section.due <= performance.now()) section.run();
  }
}

const soon = (section) => (section.due = Math.min(section.due, performance.now() + SOON));

function happened(event, data) {
  streaming = true;
  if (event === "statistics") head.show(data);
  else if (event === "refused") soon(sections.refusals);
  else if (event === "services") soon(sections.services);
  else if (event === "state") soon(sections.control);
  else if (event === "lost") all.forEach(soon);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function follow() {
  for (let tries = 0; ; tries += 1) {
    const began = performance.now();
    try {
      if (page.statistics && !document.hidden && !edge.failing) await edge.follow(happened);
    } catch (error) {
      if (!(error instanceof Unanswered || error instanceof Refused || error instanceof TypeError || error.name === "AbortError")) console.error(error);
    }
    if (streaming) head.due = 0;
    streaming = false;
    if (performance.now() - began > 30_000 || document.hidden || !page.statistics) tries = 0;
    await pause(Math.min(30_000, 500 * 2 ** tries));
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const section of all) section.due = 0;
});
setInterval(tick, 250);
await head.run(); // alone, so that a missing token is asked for by one question
tick();
follow();
