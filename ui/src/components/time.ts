/** Instants and durations in words. Durations come in seconds, as everywhere on the wire. */

const SECOND = 1;
const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

/** "0.31 s", "42 s", "3 m 12 s", "2 h 05 m", "3 d 4 h". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.0005) return "<1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < MINUTE) return `${Math.floor(seconds)} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} m ${pad(Math.floor(seconds % MINUTE))} s`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ${pad(Math.floor((seconds % HOUR) / MINUTE))} m`;
  return `${Math.floor(seconds / DAY)} d ${Math.floor((seconds % DAY) / HOUR)} h`;
}

/** "4 min ago", "in 2 min", "now". `now` is passed in, so that it can tick and be tested. */
export function relative(instant: string, now: number): string {
  const seconds = (now - Date.parse(instant)) / 1000;
  const words = coarse(Math.abs(seconds));
  if (words === "") return seconds >= 0 ? "just now" : "now";
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

function coarse(seconds: number): string {
  if (seconds < 5 * SECOND) return "";
  if (seconds < MINUTE) return `${Math.floor(seconds)} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${Math.floor(seconds / HOUR)} h`;
  return `${Math.floor(seconds / DAY)} days`;
}

export function secondsBetween(
  from: string | null | undefined,
  to: string | null | undefined,
  now: number,
): number | null {
  if (!from) return null;
  return Math.max(0, ((to ? Date.parse(to) : now) - Date.parse(from)) / 1000);
}

const DATE_TIME = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "2-digit",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** With date and zone: for titles and details. */
export function absoluteTime(instant: string): string {
  return DATE_TIME.format(Date.parse(instant));
}

export function dayAndTime(instant: string): string {
  return DAY_AND_TIME.format(Date.parse(instant));
}

/** "17:24:31", local. */
export function clock(instant: string | number): string {
  return CLOCK.format(typeof instant === "number" ? instant : Date.parse(instant));
}

export function shortClock(instant: string | number): string {
  return SHORT_CLOCK.format(typeof instant === "number" ? instant : Date.parse(instant));
}

export const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

function pad(n: number): string {
  return String(n).padStart(2, "0");
}
