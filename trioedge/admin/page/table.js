/**
 * A table whose rows keep their place, their focus and what is open in them while new data comes.
 *
 * A column is its head, the classes of its cells (`number`; `wide`, which narrow screens leave out), a function that
 * gives the content of the cell of an item, and perhaps the order that its head asks for when it is pressed. The first
 * column is the row's heading; with `open(item, place)` it is a button that shows more below the row.
 */
import { button, make, put, say } from "./make.js";

export class Table {
  #rows = new Map();
  #heads = [];

  constructor(label, columns, key, { open = null, sort = null, order = null, none = "none" } = {}) {
    Object.assign(this, { columns, key, open, none });
    const heads = columns.map(([words, kind, , by]) => {
      const head = make("th", { scope: "col", class: kind }, by ? button(words, () => sort(by), { class: "sort" }) : words);
      if (by) this.#heads.push([head, by]);
      return head;
    });
    this.body = make("tbody");
    this.nothing = make("p", { class: "none", hidden: true }, none);
    const table = make("table", {}, make("caption", { class: "unseen" }, label), make("thead", {}, make("tr", {}, ...heads)), this.body);
    this.root = make("div", { class: "scroll" }, table, this.nothing);
    if (order) this.sorted(order);
  }

  /** Mark the column that the rows are sorted by. */
  sorted(order) {
    for (const [head, by] of this.#heads) head.setAttribute("aria-sort", by !== order ? "none" : by === "name" ? "ascending" : "descending");
  }

  /** Whether a row is open: what its reader reads should stay. */
  get reading() {
    return [...this.#rows.values()].some((row) => !row.more.hidden);
  }

  /** Show items, in order. */
  show(items) {
    const focused = document.activeElement;
    const left = new Set(this.#rows.keys());
    let place = this.body.firstChild;
    for (const item of items) {
      const key = String(this.key(item));
      const row = this.#rows.get(key) ?? this.#make(key);
      left.delete(key);
      this.#fill(row, item);
      for (const line of [row.line, row.more]) {
        if (line === place) place = place.nextSibling;
        else this.body.insertBefore(line, place);
      }
    }
    for (const key of left) {
      const row = this.#rows.get(key);
      row.line.remove();
      row.more.remove();
      this.#rows.delete(key);
    }
    if (focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    this.nothing.hidden = items.length > 0;
  }

  #make(key) {
    const line = make("tr");
    const inner = make("td", { colspan: this.columns.length });
    const more = make("tr", { class: "more", hidden: true }, inner);
    const row = { line, more, inner };
    row.cells = this.columns.map(([, kind], number) => make(number ? "td" : "th", { scope: number ? null : "row", class: kind }));
    line.append(...row.cells);
    if (this.open) {
      row.button = button("", () => this.#toggle(row), { class: "open", "aria-expanded": "false" });
      row.cells[0].append(row.button);
    }
    this.#rows.set(key, row);
    return row;
  }

  #fill(row, item) {
    row.item = item;
    for (const [number, [, , show]] of this.columns.entries()) {
      const content = show(item);
      const cell = number === 0 && this.open ? row.button : row.cells[number];
      if (typeof content === "string") {
        say(cell, content);
        continue;
      }
      const marks = [content].flat().map((part) => part?.outerHTML ?? part).join("\n"); // compared; never written back
      if (cell.marks === marks) continue;
      const held = cell !== document.activeElement && cell.contains(document.activeElement);
      cell.marks = marks;
      put(cell, content);
      if (held) cell.querySelector("button")?.focus({ preventScroll: true });
    }
    if (!row.more.hidden) this.open(item, row.inner);
  }

  #toggle(row) {
    row.more.hidden = !row.more.hidden;
    row.button.setAttribute("aria-expanded", String(!row.more.hidden));
    if (row.more.hidden) row.inner.replaceChildren();
    else this.open(row.item, row.inner);
  }
}
