/** What a deployment's row says of itself: can it run, how did it go lately. Pure. */

import type { DeploymentRow, JsonObject, LastRun } from "../../api/types";
import type { StateType } from "../../api/states";

export interface Health {
  word: "Ready" | "Paused" | "No queue" | "No agent";
  /** The state whose colour and shape fit the word. */
  like: StateType;
  why: string;
}

export function healthOf(d: DeploymentRow): Health {
  if (d.paused) return { word: "Paused", like: "paused", why: "Its schedules start nothing until it is resumed." };
  if ((d.queues ?? []).length === 0)
    return { word: "No queue", like: "failed", why: "No queue's filter takes its runs." };
  if ((d.live_agents ?? 0) === 0) {
    return {
      word: "No agent",
      like: "scheduled",
      why: `No live agent takes runs from ${(d.queues ?? []).join(", ")}.`,
    };
  }
  return { word: "Ready", like: "completed", why: `${d.live_agents} live agents.` };
}

/** Share of the finished runs that completed, or null if none has finished. */
export function okShare(runs: readonly LastRun[]): number | null {
  const ended = runs.filter((r) => ["completed", "failed", "crashed"].includes(r.state));
  return ended.length === 0 ? null : ended.filter((r) => r.state === "completed").length / ended.length;
}

/** The q-quantile of what runs took, by nearest rank; null without any. */
export function quantile(runs: readonly LastRun[], q: number): number | null {
  const took = runs.flatMap((r) => (r.state === "completed" && r.took_s ? r.took_s : [])).sort((a, b) => a - b);
  return took.length === 0 ? null : (took[Math.min(took.length - 1, Math.floor(q * took.length))] ?? null);
}

export function fullName(d: { flow_name: string; name: string }): string {
  return `${d.flow_name}/${d.name}`;
}

export function hrefOf(d: { flow_name: string; name: string }): string {
  return `deployments/${encodeURIComponent(d.flow_name)}/${encodeURIComponent(d.name)}`;
}

/** The command that starts a run with these parameters. */
export function runCommand(name: string, parameters: JsonObject): string {
  const quote = (text: string): string => (/^[\w./:@%+,=-]*$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
  const options = Object.entries(parameters).map(
    ([key, value]) => `-p ${quote(`${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)}`,
  );
  return ["legato deployment run", name, ...options].join(" ");
}
