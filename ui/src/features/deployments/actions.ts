/** What can be done to a deployment, with the note that says it was done and the way back. */

import { post } from "../../api/client";
import type { Deployment } from "../../api/types";
import { notes } from "../../components/clipboard.svelte";
import { fullName } from "./health";

export async function setPaused(d: Deployment, paused: boolean, done: () => void): Promise<void> {
  try {
    await post<Deployment>(`deployments/${d.id}/${paused ? "pause" : "resume"}`);
    notes.add(`${fullName(d)} ${paused ? "paused" : "resumed"}`, "ok", () => void setPaused(d, !paused, done));
  } catch (e) {
    notes.add(
      `${fullName(d)} not ${paused ? "paused" : "resumed"}: ${e instanceof Error ? e.message : "no answer"}`,
      "error",
    );
  }
  done();
}
