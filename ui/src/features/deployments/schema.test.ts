import { expect, it } from "vitest";

import { runCommand } from "./health";
import { asText, fieldsOf, parse, type Field } from "./schema";

const SCHEMA = {
  properties: {
    date: { type: "string", format: "date", title: "Date" },
    depth: { type: "integer", default: 12 },
    model: { $ref: "#/$defs/Model" },
    tags: { type: "array" },
  },
  $defs: { Model: { enum: ["lasso", "xgboost"] } },
  required: ["date"],
};

function field(name: string): Field {
  return fieldsOf(SCHEMA, { extra: 1 }).find((f) => f.name === name) as Field;
}

it("gives each property the input of its type, and JSON to what it does not know", () => {
  expect(fieldsOf(SCHEMA, { extra: 1 }).map((f) => [f.name, f.kind, f.required])).toEqual([
    ["date", "date", true],
    ["depth", "integer", false],
    ["model", "choice", false],
    ["tags", "json", false],
    ["extra", "json", false],
  ]);
});

it("follows a reference into the schema's definitions", () => {
  expect(field("model").choices).toEqual(["lasso", "xgboost"]);
});

it("reads text as the kind asks for and says what is wrong with it", () => {
  expect(parse(field("depth"), "7")).toEqual({ value: 7 });
  expect(parse(field("depth"), "7.5")).toEqual({ problem: "depth must be a whole number" });
  expect(parse(field("tags"), '["a"]')).toEqual({ value: ["a"] });
  expect(parse(field("tags"), "[a")).toHaveProperty("problem");
});

it("writes values back as they were typed", () => {
  expect(asText(field("date"), "2026-11-01")).toBe("2026-11-01");
  expect(asText(field("tags"), ["a"])).toBe('["a"]');
});

it("makes a command that a shell reads the same", () => {
  expect(runCommand("etl/prod", { date: "2026-11-01", n: 3, note: "it's on" })).toBe(
    `legato deployment run etl/prod -p date=2026-11-01 -p n=3 -p 'note=it'\\''s on'`,
  );
});
