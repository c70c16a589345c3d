/**
 * The edge behind this page: asks it with the token, follows its events, and knows how long it has been silent.
 *
 * A hidden page asks nothing: what is under way is ended, and begins again when the page is seen.
 */

const PATIENCE = 8_000; // milliseconds to an answer
const SILENT = 12_000; // without a word, the edge is lost
const AT_ONCE = 2_000; // so too after a failure
const LONGEST_EVENT = 4_000_000; // letters of an event; the edge sends far shorter ones
const KEY = "trioedge token";

/** No answer came. */
export class Unanswered extends Error {}

/** The edge answered that it will not. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export class Edge {
  heard = performance.now();
  failing = false;
  #leaving = new AbortController();
  #entering = null;

  /** @param enter asks the reader of the page for the token; is told whether the last one was wrong. */
  constructor(enter) {
    this.enter = enter;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#leaving.abort();
      else {
        this.#leaving = new AbortController();
        this.heard = performance.now();
      }
    });
  }

  /** Milliseconds since it was heard of, if that is too long; else 0. */
  get lost() {
    const silent = performance.now() - this.heard;
    return !this.#entering && silent > (this.failing ? AT_ONCE : SILENT) ? silent : 0;
  }

  get locked() {
    return this.#entering !== null;
  }

  async #fetch(path, options, signal) {
    for (;;) {
      const token = sessionStorage.getItem(KEY);
      const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
      let answer;
      try {
        answer = await fetch(path, { ...options, headers, signal, cache: "no-store" });
      } catch {
        this.failing = !document.hidden;
        throw new Unanswered(path);
      }
      this.#listen();
      if (answer.status !== 401) return answer;
      if (sessionStorage.getItem(KEY) === token) sessionStorage.removeItem(KEY); // no newer one came meanwhile
      else continue;
      this.#entering ??= this.enter(token !== null).then((entered) => {
        sessionStorage.setItem(KEY, entered);
        this.#entering = null;
        this.#listen();
      });
      await this.#entering;
      signal = this.#patience();
    }
  }

  #listen() {
    this.heard = performance.now();
    this.failing = false;
  }

  #patience() {
    return AbortSignal.any([this.#leaving.signal, AbortSignal.timeout(PATIENCE)]);
  }

  /** Ask, and give the answer's JSON. */
  async ask(path, parameters = {}, method = "GET", body = undefined, type = "application/json") {
    const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
    const query = given.length ? `?${new URLSearchParams(given)}` : "";
    const options = { method, body, headers: { accept: "application/json", ...(body != null && { "content-type": type }) } };
    const answer = await this.#fetch(path + query, options, this.#patience());
    let said;
    try {
      said = await answer.json();
    } catch {
      if (answer.ok) throw new Unanswered(path);
      said = {};
    }
    if (!answer.ok) throw new Refused(answer.status, said.error ?? said.faults?.join("\n") ?? `the edge answered ${answer.status}`);
    return said;
  }

  /** Follow the events until they end: `happened` is told each one's name and data. */
  async follow(happened) {
    const answer = await this.#fetch("/v1/events", { headers: { accept: "text/event-stream" } }, this.#leaving.signal);
    if (!answer.ok) throw new Refused(answer.status, "no events");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#listen();
      const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
      text = blocks.pop();
      if (text.length > LONGEST_EVENT) return void reader.cancel();
      for (const block of blocks) {
        const of = (name) => block.split("\n").filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim());
        const data = of("data").join("\n");
        if (data) happened(of("event")[0] ?? "message", JSON.parse(data));
      }
    }
  }
}
