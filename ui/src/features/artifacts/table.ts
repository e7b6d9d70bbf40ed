/** Tables of artifacts: cells in words, and rows in the order of a column. */

import { isJsonObject } from "../../api/client";
import type { Json } from "../../api/types";

export interface Table {
  columns: string[];
  rows: Json[][];
}

/** The table that an artifact's data is, or null where somebody else's program has stored something else. */
export function tableOf(data: Json | undefined): Table | null {
  if (!isJsonObject(data)) return null;
  const { columns, rows } = data;
  if (!Array.isArray(columns) || !Array.isArray(rows) || !rows.every((row) => Array.isArray(row))) return null;
  return { columns: columns.map(String), rows: rows as Json[][] };
}

export function cellText(value: Json | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A column of numbers (and gaps) only: set right-aligned. */
export function isNumeric(table: Table, column: number): boolean {
  const values = table.rows.map((row) => row[column]).filter((value) => value !== null && value !== undefined);
  return values.length > 0 && values.every((value) => typeof value === "number");
}

/** Row numbers in the order of a column: numbers before words, gaps last either way, equal ones as they stood. */
export function sortedRows(table: Table, column: number, down: boolean): number[] {
  const order = table.rows.map((_, i) => i);
  if (column < 0) return order;
  const words = new Intl.Collator("en", { numeric: true });
  const sign = down ? -1 : 1;
  return order.sort((a, b) => {
    const [x, y] = [table.rows[a]?.[column] ?? null, table.rows[b]?.[column] ?? null];
    if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
    if (typeof x === "number" && typeof y === "number") return sign * (x - y) || a - b;
    if (typeof x === "number" || typeof y === "number") return sign * (typeof x === "number" ? -1 : 1);
    return sign * words.compare(cellText(x), cellText(y)) || a - b;
  });
}
