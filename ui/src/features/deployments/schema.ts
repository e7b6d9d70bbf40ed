/** A form from a JSON Schema: which input a parameter gets, and text to value and back. Pure; the server is the judge. */

import { isJsonObject } from "../../api/client";
import type { Json, JsonObject } from "../../api/types";

export type FieldKind = "text" | "number" | "integer" | "boolean" | "choice" | "date" | "datetime" | "json";

export interface Field {
  name: string;
  title: string;
  description: string;
  kind: FieldKind;
  required: boolean;
  fallback: Json | undefined;
  choices: Json[];
}

/** One field for each property; parameters that the schema does not know come last, as JSON. */
export function fieldsOf(schema: JsonObject, known: JsonObject): Field[] {
  const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const names = [...new Set([...Object.keys(properties), ...Object.keys(known)])];
  return names.map((name) => {
    const raw = properties[name];
    const property = resolve(isJsonObject(raw) ? raw : {}, schema);
    return {
      name,
      title: typeof property["title"] === "string" ? property["title"] : name,
      description: typeof property["description"] === "string" ? property["description"] : "",
      kind: kindOf(property),
      required: required.includes(name),
      fallback: property["default"],
      choices: Array.isArray(property["enum"]) ? property["enum"] : [],
    };
  });
}

/** Follows one `$ref` into the schema's own definitions; anything further falls back to JSON. */
function resolve(property: JsonObject, schema: JsonObject): JsonObject {
  const ref = property["$ref"];
  if (typeof ref !== "string" || !ref.startsWith("#/")) return property;
  let at: Json = schema;
  for (const part of ref.slice(2).split("/")) at = isJsonObject(at) ? (at[part] ?? null) : null;
  return isJsonObject(at) ? { ...at, ...property } : property;
}

function kindOf(property: JsonObject): FieldKind {
  if (Array.isArray(property["enum"])) return "choice";
  switch (property["type"]) {
    case "integer":
      return "integer";
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "string":
      return property["format"] === "date" ? "date" : property["format"] === "date-time" ? "datetime" : "text";
    default:
      return "json";
  }
}

export type Parsed = { value: Json } | { problem: string };

/** What a person typed, as the value the field's kind asks for. */
export function parse(field: Field, text: string): Parsed {
  if (field.kind === "integer" || field.kind === "number") {
    const n = Number(text);
    if (text.trim() === "" || Number.isNaN(n)) return { problem: `${field.title} must be a number` };
    if (field.kind === "integer" && !Number.isInteger(n)) return { problem: `${field.title} must be a whole number` };
    return { value: n };
  }
  if (field.kind === "json") return parseJson(text);
  return { value: text };
}

export function parseJson(text: string): Parsed {
  try {
    return { value: JSON.parse(text) as Json };
  } catch (e) {
    return { problem: e instanceof Error ? e.message : "not JSON" };
  }
}

export function asText(field: Field, value: Json | undefined): string {
  if (value === undefined) return "";
  return field.kind === "json" ? JSON.stringify(value) : typeof value === "string" ? value : String(value);
}
