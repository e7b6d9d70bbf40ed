/** Artifacts in words: what a list says of one, and what a progress bar stands at. */

import { isJsonObject } from "../../api/client";
import type { Artifact, Json } from "../../api/types";
import { tableOf } from "./table";

const LINE = 90;

export interface Progress {
  /** From 0 to 100; null when nobody knows how much there is to do. */
  percent: number | null;
  words: string;
}

export function progressOf(data: Json | undefined): Progress {
  const { percent, done, total } = isJsonObject(data) ? data : {};
  const known = typeof percent === "number" ? Math.min(100, Math.max(0, percent)) : null;
  const count =
    typeof done === "number"
      ? done.toLocaleString("en") + (typeof total === "number" ? ` of ${total.toLocaleString("en")}` : "")
      : "";
  const share = known === null ? "" : `${Number.isInteger(known) ? known : known.toFixed(1)} %`;
  return { percent: known, words: [share, count].filter(Boolean).join(", ") };
}

export function isMoving(artifact: Artifact): boolean {
  return artifact.kind === "progress" && progressOf(artifact.data).percent !== 100;
}

/** One line about what it holds; "" where a brief list left it out. */
export function inALine(artifact: Artifact): string {
  const { data, kind } = artifact;
  if (typeof data === "string") {
    const first =
      data
        .split("\n")
        .map((l) => l.replace(/^[#>\s]+/, "").trim())
        .find(Boolean) ?? "";
    return first.length > LINE ? `${first.slice(0, LINE - 1)}…` : first;
  }
  const table = tableOf(data);
  if (table) return `${table.rows.length} ${table.rows.length === 1 ? "row" : "rows"}: ${table.columns.join(", ")}`;
  if (kind === "progress") return progressOf(data).words;
  if (!isJsonObject(data)) return "";
  if (typeof data["url"] === "string") return String(data["text"] || data["url"]);
  return kind === "image"
    ? `${String(data["type"] ?? "")}, ${Number(data["size"] ?? 0).toLocaleString("en")} bytes`
    : "";
}

export function nameOf(artifact: Artifact): string {
  return artifact.title || artifact.key || inALine(artifact) || artifact.kind;
}
