// Formats values: escaped hidden characters, local times, durations, counts, sizes.

const HIDDEN_CHARACTERS = new RegExp(
  "[\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060\\u2066-\\u2069\\ufeff]" +
    "|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]|\\udb40[\\udc00-\\udc7f]",
  "g",
);

const THOUSANDS = new Intl.NumberFormat("en-US"); // toLocaleString is slow
const SHORT_ESCAPES = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Return text with control and invisible characters shown as escapes. */
export function visible(text) {
  return String(text).replace(HIDDEN_CHARACTERS, (found) =>
    Array.from(found, (char) => {
      const code = char.codePointAt(0);
      if (char in SHORT_ESCAPES) return SHORT_ESCAPES[char];
      if (code < 0x100) return "\\x" + code.toString(16).padStart(2, "0");
      return code > 0xffff ? "\\U" + code.toString(16).padStart(8, "0") : "\\u" + code.toString(16).padStart(4, "0");
    }).join(""),
  );
}

/** Return a command or the source of a cell as one line. */
export function oneLine(text) {
  return visible(text.trim().replace(/\s*\n\s*/g, " ↵ "));
}

/** Return epoch milliseconds of a time in epoch seconds or ISO 8601; null if there is none. */
export function millis(time) {
  if (time === null || time === undefined || time === "") return null;
  const found = typeof time === "number" ? time * 1000 : Date.parse(time);
  return Number.isFinite(found) ? found : null;
}

/** Return local time: time of day if today, else with the date. */
export function clock(time, now = Date.now()) {
  const at = millis(time);
  if (at === null) return "";
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const hours = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return new Date(now).toDateString() === date.toDateString()
    ? `${hours}:${two(date.getSeconds())}`
    : `${day} ${hours}`;
}

/** Return seconds as a short duration: 4 ms, 0.26 s, 12.3 s, 4 m 05 s, 3 h 20 m, 2 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.floor(Math.max(0, seconds));
  if (seconds < 0.1) return `${Math.round(Math.max(0, seconds) * 1000)} ms`;
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(2)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
  if (seconds < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Return a number with thousands separators. */
export function count(number) {
  return THOUSANDS.format(Number(number));
}

/** Return a number of bytes with a unit. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
