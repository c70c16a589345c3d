/** Elements made of text. What the edge says is never read as HTML: there is no innerHTML on this page. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Make an element: a function among the attributes listens to the event of its name. */
export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

/** Make an element of a picture. */
export const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** Set a text only where it differs, so that a selection and a reader's place survive. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** Show content in a place: a text, an element, or a list of both. */
export function put(element, content) {
  if (typeof content === "string" || typeof content === "number") say(element, content);
  else element.replaceChildren(...[content].flat().filter((child) => child != null));
}

/** A button with words. */
export const button = (words, click, attributes = {}) => make("button", { type: "button", click, ...attributes }, words);

/** Pairs of a term and what it is. */
export const terms = (pairs) =>
  make("dl", {}, ...pairs.filter(([, value]) => value != null && value !== "").map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, ...[value].flat()))));

/** A bar of a part from 0 to 1; before it stands the number. */
export function bar(part, kind = "") {
  const inner = make("i");
  inner.style.width = `${Math.min(100, Math.max(0, part * 100))}%`;
  return make("span", { class: `bar ${kind}`, "aria-hidden": "true" }, inner);
}

/** A number and its bar, whose whole is the largest of them. */
export const share = (words, part, kind) => [words, bar(part, kind)];

/** The use of a limit as words and a bar: "12 of 100"; of no limit, without the bar. */
export function use(used, limit, words) {
  if (limit == null) return [words(used), bar(0, "no")];
  const part = limit > 0 ? used / limit : 1;
  return [words(used), make("small", {}, ` of ${words(limit)}`), bar(part, part >= 1 ? "bad" : part >= 0.8 ? "near" : "")];
}

/** Tell a reader of the screen what has happened. */
export const announce = (text) => say(document.getElementById("announce"), text);
