/** Numbers and times as a person reads them. */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count: 1,234. */
export const count = (value) => (value == null ? "–" : whole.format(value));

/** Three digits are enough for the eye: 9.87, 98.7, 987. */
function digits(value) {
  const size = Math.abs(value);
  return value === 0 ? "0" : size >= 99.95 ? whole.format(value) : value.toFixed(size >= 9.995 ? 1 : 2).replace(/\.?0+$/, "");
}

function scaled(value, step, units) {
  let place = 0;
  while (Math.abs(value) >= step * 0.9995 && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return `${digits(value)} ${units[place]}`;
}

/** Bytes: 12.3 MB. */
export const bytes = (value) => (value == null ? "–" : scaled(value, 1000, ["B", "kB", "MB", "GB", "TB", "PB"]));

/** Bytes a second: 12.3 MB/s. */
export const rate = (value) => (value == null ? "–" : `${bytes(value)}/s`);

/** Events a second: 0.2 or 1,234. */
export const each = (value) => (value == null ? "–" : value >= 100 ? whole.format(value) : digits(value));

/** Microseconds: 1.25 µs, 3.1 ms, 2 s. */
export const micros = (value) => (value == null ? "–" : scaled(value, 1000, ["µs", "ms", "s"]));

/** Milliseconds, as they come. */
export const millis = (value) => (value == null ? "–" : micros(value * 1000));

/** A part of one: 12.3 %. */
export const percent = (part) => (part == null ? "–" : `${digits(part * 100)} %`);

/** Seconds as two units at most: 3 m 10 s. */
export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.9995) return seconds <= 0 ? "0 s" : millis(seconds * 1000);
  if (seconds < 9.95) return `${digits(Math.round(seconds * 10) / 10)} s`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    const times = Math.floor(rest / size);
    if (times > 0 || parts.length) parts.push(times > 0 ? `${times} ${unit}` : "");
    rest -= times * size;
  }
  return parts.slice(0, 2).filter(Boolean).join(" ");
}

/** How long ago a time in Unix seconds was. */
export const ago = (at) => (at == null ? "–" : `${span(Math.max(1, Math.round(Date.now() / 1000 - at)))} ago`);

/** "1 session", "2 sessions". */
export const some = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** The time of day of a time in Unix seconds. */
export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
