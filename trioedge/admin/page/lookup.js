/** One source or one session, looked up, explained, and cut. */
import { button, make, put, say } from "./make.js";
import { cut } from "./dialogs.js";
import { endedTable, facts, liveTable, steps } from "./explained.js";
import { count, some } from "./words.js";

const LIVE = 50;
const ENDED = 15;

export function lookup(page, root) {
  let wanted = "";
  const field = make("input", { id: "wanted", required: true, maxlength: "64", autocomplete: "off", spellcheck: "false", class: "mono", placeholder: "192.0.2.7, 2001:db8::/64, 4711" });
  const form = make("form", { class: "choices", submit: (event) => {
    event.preventDefault();
    look(field.value.trim());
  } }, make("label", { for: "wanted" }, "Address, prefix, or number of a session"), field, make("button", { class: "main" }, "Look up"));
  const heading = make("p", { class: "found", "aria-live": "polite" }, "Who is asked about? Any address on this page can be pressed, too.");
  const evict = button("Cut its sessions", () => cut(page.edge, isSession() ? { session: Number(wanted) } : { source: wanted }, isSession() ? `session ${wanted}` : `of ${wanted}`, show), { class: "danger", id: "evict", disabled: true });
  const one = make("div", { id: "session" });
  const live = liveTable(page, () => show());
  const ended = endedTable("Recent ends and refusals", page, "None is remembered.");
  const ofSource = make("div", { hidden: true }, make("h3", {}, "Live"), live.root, make("h3", {}, "Recent ends and refusals"), ended.root);
  root.append(form, make("div", { class: "choices" }, heading, make("span", { class: "space" }), evict), one, ofSource);
  const isSession = () => /^\d+$/.test(wanted);

  async function look(text) {
    if (!text) return;
    wanted = text;
    field.value = text;
    put(one, "");
    live.show([]);
    ended.show([]);
    await show();
  }

  async function show() {
    try {
      await (isSession() ? showSession() : showSource());
    } catch (error) {
      ofSource.hidden = true;
      evict.disabled = true;
      put(one, "");
      say(heading, error.message || "The edge does not answer.");
    }
  }

  async function showSession() {
    const asked = wanted;
    const said = await page.edge.ask(`/v1/sessions/${asked}`);
    if (asked !== wanted) return;
    ofSource.hidden = true;
    evict.disabled = said.outcome !== "";
    say(heading, `Session ${asked} of ${said.session.service} from ${said.session.source}: ${said.outcome || said.session.phase}.`);
    put(one, [steps(said.steps), facts(said.session)]);
  }

  async function showSource() {
    const source = wanted;
    const [sessions, recent] = await Promise.all([page.edge.ask("/v1/sessions", { source, limit: LIVE }), page.edge.ask("/v1/recent", { source, limit: ENDED })]);
    if (source !== wanted) return;
    const refused = recent.items.filter((item) => item.kind === "refused").length;
    evict.disabled = sessions.items.length === 0;
    say(heading, `${source}: ${sessions.next ? `more than ${count(LIVE)} sessions` : some(sessions.items.length, "session")} live; lately ${some(refused, "refusal")} and ${some(recent.items.length - refused, "end")}.`);
    live.show(sessions.items);
    if (!ended.reading) ended.show(recent.items);
    ofSource.hidden = false;
  }

  page.look = (text) => {
    look(text);
    root.scrollIntoView();
    field.focus({ preventScroll: true });
  };
  return { refresh: async () => wanted && show() };
}
