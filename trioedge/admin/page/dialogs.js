/** What the page asks its reader: the token, and whether sessions are really to be cut. */
import { announce, button, make, say } from "./make.js";
import { count, some } from "./words.js";

const MOST = 1_000; // sessions that are counted before a cut

let number = 0;

function dialog(title, ...content) {
  const id = `dialog-${(number += 1)}`;
  const root = make("dialog", { "aria-labelledby": id }, make("h2", { id }, title), ...content);
  root.addEventListener("close", () => root.remove());
  document.body.append(root);
  return root;
}

/** Ask for the token until there is one, and give it. */
export function enterToken(wrong) {
  return new Promise((resolve) => {
    const field = make("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
    const entered = (event) => {
      event.preventDefault();
      if (!field.value) return;
      root.close();
      resolve(field.value.trim());
    };
    const form = make("form", { submit: entered },
      make("p", {}, wrong ? "The edge does not accept this token." : "This edge asks for its admin token. This tab keeps it until it is closed."),
      make("label", { for: "token" }, "Token"), field, make("p", { class: "choices" }, make("button", { class: "main" }, "Open")));
    const root = dialog("Admin token", form);
    root.addEventListener("cancel", (event) => event.preventDefault());
    root.showModal();
    field.focus();
  });
}

/**
 * Cut sessions, after a confirmation that says how many there are; then say how many were cut.
 *
 * @param of what POST /v1/evict is told: service, source, device, session.
 * @param words name them: "of 192.0.2.7".
 * @param done is called after the cut.
 */
export async function cut(edge, of, words, done) {
  let live = "it";
  if (!of.session) {
    const { items, next } = await edge.ask("/v1/sessions", { ...of, limit: MOST });
    live = next ? `more than ${count(MOST)} sessions` : some(items.length, "session");
  }
  const says = make("p", {}, of.session ? `This cuts ${words} at once: its connection is reset.` : `This cuts ${live} ${words} at once: each of these connections is reset.`);
  const confirm = button(`Cut ${live}`, async () => {
    confirm.disabled = true;
    let outcome;
    try {
      const { evicted } = await edge.ask("/v1/evict", {}, "POST", JSON.stringify(of));
      outcome = `${some(evicted, "session")}${of.session ? "" : ` ${words}`} cut.`;
    } catch (error) {
      outcome = `Not cut: ${error.message || "the edge does not answer"}.`;
    }
    announce(outcome);
    say(says, outcome);
    confirm.remove();
    say(cancel, "Close");
    cancel.focus();
    done();
  }, { class: "danger" });
  const cancel = button("Cancel", () => root.close());
  const root = dialog("Cut sessions", says, make("p", { class: "choices" }, cancel, confirm));
  const before = document.activeElement;
  root.addEventListener("close", () => before?.focus());
  root.showModal();
  cancel.focus();
}
