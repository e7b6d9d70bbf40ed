import { describe, expect, it } from "vitest";

import { kindOf, setCommand, typed, valueOf } from "./value";

describe("a variable's value", () => {
  it("is JSON where it reads as such, and text otherwise", () => {
    expect(["10", "1.5", "true", "null", '["a"]', '{"a": 1}', '"10"', "rome", "1,5"].map(valueOf)).toEqual([
      10,
      1.5,
      true,
      null,
      ["a"],
      { a: 1 },
      "10",
      "rome",
      "1,5",
    ]);
    expect(["10", '"10"', "[1]", "{}", "null", "x", "true"].map(kindOf)).toEqual([
      "number",
      "text",
      "list",
      "object",
      "null",
      "text",
      "boolean",
    ]);
  });

  it("is typed so that the same value comes back", () => {
    for (const value of [null, 0, "10", "rome", "", "true", [1, "a"], { a: null }])
      expect(valueOf(typed(value))).toEqual(value);
  });

  it("has a command that sets it", () => {
    expect(setCommand("max-rows", '["a b"]', ["prod"], true)).toBe(
      `legato variable set max-rows '["a b"]' -t prod --overwrite`,
    );
  });
});
