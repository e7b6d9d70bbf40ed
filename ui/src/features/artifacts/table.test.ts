import { describe, expect, it } from "vitest";

import type { Json } from "../../api/types";
import { cellText, isNumeric, sortedRows, tableOf } from "./table";

const TABLE = {
  columns: ["city", "n"],
  rows: [
    ["Oslo", 10],
    ["Rome", null],
    ["bergen 10", 9],
    ["bergen 9", "x"],
  ],
};

describe("tables of artifacts", () => {
  it("are sorted by numbers as numbers, words as people do, gaps last", () => {
    expect(sortedRows(TABLE, -1, false)).toEqual([0, 1, 2, 3]);
    expect(sortedRows(TABLE, 0, false)).toEqual([3, 2, 0, 1]);
    expect(sortedRows(TABLE, 0, true)).toEqual([1, 0, 2, 3]);
    expect(sortedRows(TABLE, 1, false)).toEqual([2, 0, 3, 1]);
    expect(sortedRows(TABLE, 1, true)).toEqual([3, 0, 2, 1]);
  });

  it("say their cells, and which columns are numbers", () => {
    expect([null, true, 0, "a", { b: [1] }].map(cellText)).toEqual(["", "true", "0", "a", '{"b":[1]}']);
    expect(
      [0, 1].map((c) =>
        isNumeric(
          {
            columns: ["a", "b"],
            rows: [
              [1, "x"],
              [null, 2],
            ],
          },
          c,
        ),
      ),
    ).toEqual([true, false]);
  });

  it("are not made of what is no table", () => {
    const others: Json[] = [null, "x", [], {}, { columns: ["a"], rows: [1] }, { columns: "a", rows: [] }];
    for (const data of others) expect(tableOf(data)).toBeNull();
    expect(tableOf({ columns: ["a", 2], rows: [[1]] })).toEqual({ columns: ["a", "2"], rows: [[1]] });
  });
});
