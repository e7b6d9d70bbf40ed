import { describe, expect, it } from "vitest";

import { newId } from "./ids";

describe("ids", () => {
  it("are UUIDv7 of the time they are made", () => {
    expect(newId(0x0192_0000_abcd)).toMatch(/^01920000-abcd-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("differ", () => {
    expect(newId(1)).not.toBe(newId(1));
  });
});
