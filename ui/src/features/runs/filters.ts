/**
 * The filter of a list of runs: as tokens people type (`state:failed,crashed tag:prod text`), as the address's
 * query, and as the parameters of the call. The address is the truth; the others are made from it.
 */

import type { Query } from "../../api/client";
import { isStateType } from "../../api/states";

/** Keys of the address's query that filter, in the order chips are shown. `tag` may hold several, by commas. */
export const FILTER_KEYS = ["flow", "deployment", "queue", "agent", "tag", "parent", "from", "to"] as const;
type TokenKey = (typeof FILTER_KEYS)[number] | "state";

const TOKEN_KEYS: ReadonlySet<string> = new Set([...FILTER_KEYS, "state", "started"]);

export interface Typed {
  /** What is to be set in the address. */
  set: Partial<Record<TokenKey, string>>;
  /** What is left over: text to look for. */
  text: string;
  /** Tokens that make no sense, in the words to say so. */
  problems: string[];
}

/** Reads what was typed. Tokens are `key:value`, values with spaces in double quotes; the rest is text. */
export function readTokens(typed: string, now: number): Typed {
  const out: Typed = { set: {}, text: "", problems: [] };
  const words: string[] = [];
  for (const [, key, quoted, plain, word] of typed.matchAll(/(\w+):(?:"([^"]*)"|(\S+))|(\S+)/g)) {
    const value = quoted ?? plain ?? "";
    if (key && TOKEN_KEYS.has(key)) readToken(key, value, now, out);
    else words.push(key ? `${key}:${value}` : (word ?? ""));
  }
  out.text = words.join(" ");
  return out;
}

function readToken(key: string, value: string, now: number, out: Typed): void {
  if (key === "state") {
    const wrong = value.split(",").filter((s) => !isStateType(s));
    if (wrong.length > 0) out.problems.push(`There is no state "${wrong.join(", ")}".`);
    else out.set.state = value;
  } else if (key === "started") {
    const since = sinceOf(value, now);
    if (since) out.set.from = since;
    else out.problems.push(`"started:${value}" should be like started:<24h (s, m, h, d).`);
  } else if (key === "tag") {
    out.set.tag = [out.set.tag, value].filter(Boolean).join(",");
  } else {
    out.set[key as TokenKey] = value;
  }
}

const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "<24h" as the instant 24 hours before `now`. */
export function sinceOf(value: string, now: number): string | null {
  const found = /^<?(\d+)([smhd])$/.exec(value);
  const unit = UNIT_MS[found?.[2] ?? ""];
  return found && unit ? new Date(now - Number(found[1]) * unit).toISOString() : null;
}

/** The call's parameters for an address. Without `upcoming` the list ends now: planned runs would drown the rest. */
export function callQuery(address: URLSearchParams, now: number): Query {
  const one = (key: string): string | null => address.get(key);
  const states = one("state") ?? "";
  const withPlanned = one("upcoming") === "1" || states.includes("scheduled");
  return {
    state: states,
    state_name: one("state_name"),
    flow: one("flow"),
    deployment: one("deployment"),
    queue: one("queue"),
    agent: one("agent"),
    parent: one("parent"),
    tag: (one("tag") ?? "").split(",").filter(Boolean),
    q: one("q"),
    from: one("from"),
    to: one("to") ?? (withPlanned ? null : new Date(now + 1_000).toISOString()),
    top_level: one("subflows") === "1" || one("parent") ? null : "1",
  };
}

/** The same filter for the command line. */
export function asCommand(address: URLSearchParams): string {
  const parts = ["legato run ls"];
  for (const key of ["state", "flow", "deployment", "queue", "tag"]) {
    const value = address.get(key);
    if (value) parts.push(`--${key} ${/[^\w,./-]/.test(value) ? `'${value}'` : value}`);
  }
  return parts.join(" ");
}
