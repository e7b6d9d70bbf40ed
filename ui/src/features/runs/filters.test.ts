import { expect, it } from "vitest";

import type { FlowRun } from "../../api/types";
import { asCommand, callQuery, readTokens } from "./filters";
import { applyJournal } from "./rows";

const NOW = Date.parse("2026-11-22T17:00:00Z");

it("reads tokens, quotes and free text", () => {
  const typed = readTokens('state:failed,crashed tag:prod tag:ml flow:"model training" started:<24h ant', NOW);

  expect(typed).toEqual({
    set: { state: "failed,crashed", tag: "prod,ml", flow: "model training", from: "2026-11-21T17:00:00.000Z" },
    text: "ant",
    problems: [],
  });
});

it("says which token makes no sense and leaves unknown keys as text", () => {
  const typed = readTokens("state:faild started:yesterday http://x", NOW);

  expect(typed.set).toEqual({});
  expect(typed.problems).toHaveLength(2);
  expect(typed.text).toBe("http://x");
});

it("ends the list now unless planned runs are asked for", () => {
  expect(callQuery(new URLSearchParams("state=failed"), NOW)["to"]).toBe("2026-11-22T17:00:01.000Z");
  expect(callQuery(new URLSearchParams("upcoming=1"), NOW)["to"]).toBeNull();
  expect(callQuery(new URLSearchParams("state=scheduled"), NOW)["to"]).toBeNull();
});

it("gives the same filter as a command", () => {
  expect(asCommand(new URLSearchParams("state=failed&tag=a b"))).toBe("legato run ls --state failed --tag 'a b'");
});

it("changes rows in place, once, and asks again for what it cannot know", () => {
  const run: FlowRun = {
    id: "r1",
    flow_name: "f",
    name: "n",
    seq: 2,
    state: { type: "running", name: "Running", at: "2026-11-22T17:00:00Z" },
    created_at: "2026-11-22T17:00:00Z",
    expected_start_at: "2026-11-22T17:00:00Z",
  };
  const completed = { type: "completed", name: "Completed", at: "2026-11-22T17:00:09Z" } as const;
  const entry = {
    pos: 9,
    kind: "flow",
    run_id: "r1",
    flow_run_id: "r1",
    seq: 3,
    attempt: 1,
    state: completed,
  } as const;

  const { rows, refetch } = applyJournal([run], [entry]);

  expect(rows[0]).toMatchObject({ state: completed, seq: 3, ended_at: completed.at });
  expect(refetch).toBe(false);
  expect(applyJournal(rows, [entry]).rows[0]).toBe(rows[0]);
  expect(applyJournal(rows, [{ ...entry, run_id: "r2", flow_run_id: "r2" }]).refetch).toBe(true);
});
