/** A line over fifteen minutes that can be read point by point, with the pointer or with the arrow keys. */
import { draw, make, say } from "./make.js";
import { clock } from "./words.js";

const MINUTES = 15;
const HEIGHT = 104;
const TOP = 6;

/** The least round number that is not below a value, one digit or 1.5 times a power of ten. */
function ceiling(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export class Chart {
  #points = [];
  #at = null;

  /**
   * @param label what it shows.
   * @param lines the lines: `name` ("" for a single one), `of` a point, `kind` for its colour.
   * @param words writes a value.
   * @param read is told the number of the point that the reader looks at, or null.
   */
  constructor(label, lines, words, read) {
    Object.assign(this, { label, lines, words, read });
    this.now = make("p", { class: "now" });
    this.picture = draw("svg", {
      class: "chart", tabindex: "0", role: "slider", "aria-label": `${label}, the last ${MINUTES} minutes`,
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", height: HEIGHT,
      pointermove: (event) => this.#point(event), pointerdown: (event) => this.#point(event),
      pointerleave: () => read(null), blur: () => read(null), keydown: (event) => this.#key(event),
    });
    this.root = make("figure", { class: "card" }, make("figcaption", {}, label), this.now, this.picture, make("p", { class: "ages", "aria-hidden": "true" }, make("span", {}, `${MINUTES} minutes ago`), make("span", {}, "now")));
    new ResizeObserver(() => this.#draw()).observe(this.picture);
  }

  /** Show points, oldest first. */
  show(points) {
    this.#points = points;
    if (this.#at !== null && this.#at >= points.length) this.#at = null;
    this.#draw();
  }

  /** Look at one point, or at none. */
  look(at) {
    this.#at = at;
    this.#draw();
  }

  #point(event) {
    const box = this.picture.getBoundingClientRect();
    const wanted = this.#last - MINUTES * 60 * (1 - (event.clientX - box.left) / box.width);
    let nearest = this.#points.length ? 0 : null;
    this.#points.forEach((point, place) => {
      if (Math.abs(point.at - wanted) < Math.abs(this.#points[nearest].at - wanted)) nearest = place;
    });
    this.read(nearest);
  }

  #key(event) {
    const last = this.#points.length - 1;
    const at = this.#at ?? last;
    const next = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageUp: at + 12, PageDown: at - 12, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.read(null);
    else if (next === undefined || last < 0) return;
    else this.read(Math.min(last, Math.max(0, next)));
    event.preventDefault();
  }

  get #last() {
    return this.#points.at(-1)?.at ?? 0;
  }

  #draw() {
    const width = Math.round(this.picture.clientWidth);
    const point = this.#points[this.#at ?? this.#points.length - 1];
    this.#write(point);
    if (!width) return;
    const most = Math.max(0, ...this.#points.flatMap((each) => this.lines.map((line) => line.of(each))));
    const top = ceiling(most);
    const x = (each) => width - ((this.#last - each.at) / (MINUTES * 60)) * width;
    const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - TOP - 1);
    const rule = (kind, x1, x2, y1, y2) => draw("line", { class: kind, x1, x2, y1, y2 });
    const parts = [1, 0.5].map((part) => rule("grid", 0, width, y(top * part), y(top * part)));
    for (const minutes of [5, 10]) {
      const at = width * (1 - minutes / MINUTES);
      parts.push(rule("grid", at, at, TOP, HEIGHT));
    }
    for (const line of this.lines) {
      const way = this.#points.map((each) => `${x(each).toFixed(1)},${y(line.of(each)).toFixed(1)}`);
      if (!way.length) continue;
      const path = `M${way.join("L")}`;
      parts.push(draw("path", { class: `area ${line.kind}`, d: `${path}V${HEIGHT}H${x(this.#points[0]).toFixed(1)}Z` }));
      parts.push(draw("path", { class: `line ${line.kind}`, d: path }));
    }
    if (point && this.#at !== null) {
      parts.push(rule("cross", x(point), x(point), TOP, HEIGHT));
      for (const line of this.lines) parts.push(draw("circle", { class: `dot ${line.kind}`, cx: x(point), cy: y(line.of(point)), r: 3.5 }));
    }
    parts.push(rule("base", 0, width, HEIGHT - 0.5, HEIGHT - 0.5));
    for (const part of most ? [1, 0.5] : []) parts.push(draw("text", { class: "scale", y: y(top * part) + 12 }, this.words(top * part)));
    this.picture.replaceChildren(...parts);
  }

  #write(point) {
    const values = this.lines.map((line) => (point ? this.words(line.of(point)) : "–"));
    const when = point && this.#at !== null ? clock(point.at) : "";
    if (this.now.childElementCount !== this.lines.length + 1) {
      this.now.replaceChildren(...this.lines.map((line) => make("span", { class: line.kind }, make("small", {}, line.name), make("b"))), make("time"));
    }
    this.lines.forEach((_, place) => say(this.now.children[place].lastChild, values[place]));
    say(this.now.lastChild, when);
    const spoken = this.lines.map((line, place) => `${line.name} ${values[place]}`.trim()).join(", ");
    this.picture.setAttribute("aria-valuemax", Math.max(0, this.#points.length - 1));
    this.picture.setAttribute("aria-valuenow", this.#at ?? Math.max(0, this.#points.length - 1));
    this.picture.setAttribute("aria-valuetext", point ? `${clock(point.at)}: ${spoken}` : "no data yet");
  }
}
