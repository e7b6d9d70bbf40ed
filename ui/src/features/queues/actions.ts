/** What can be done to a queue. */

import { post } from "../../api/client";
import type { QueueFilter, QueueStatus, WorkQueue } from "../../api/types";
import type { StateType } from "../../api/states";
import { notes } from "../../components/clipboard.svelte";

export async function setPaused(queue: WorkQueue, paused: boolean, done: () => void): Promise<void> {
  try {
    await post<QueueStatus>(`work-queues/${queue.id}/${paused ? "pause" : "resume"}`);
    const what = paused ? "paused: runs in progress go on, new ones wait" : "resumed";
    notes.add(`Queue ${queue.name} ${what}`, "ok", () => void setPaused(queue, !paused, done));
  } catch (e) {
    notes.add(`Queue ${queue.name} unchanged: ${e instanceof Error ? e.message : "no answer"}`, "error");
  }
  done();
}

export interface QueueHealth {
  word: "Active" | "Paused" | "No agent";
  like: StateType;
}

export function healthOf(queue: WorkQueue, agents: number): QueueHealth {
  if (queue.paused) return { word: "Paused", like: "paused" };
  return agents > 0 ? { word: "Active", like: "completed" } : { word: "No agent", like: "scheduled" };
}

export interface QueueWish {
  name: string;
  filter: QueueFilter;
  limit: number | null;
  priority: number;
}

/** The command that creates the same queue. */
export function createCommand({ name, filter, limit, priority }: QueueWish): string {
  const quote = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
  const many = (option: string, values: string[] | undefined): string[] =>
    (values ?? []).map((v) => `${option} ${quote(v)}`);
  return [
    "legato work-queue create",
    quote(name || "NAME"),
    ...many("-t", filter.tags),
    ...many("-d", filter.deployments),
    ...many("-r", filter.flow_runners),
    ...(limit === null ? [] : [`--limit ${limit}`]),
    ...(priority === 0 ? [] : [`--priority ${priority}`]),
  ].join(" ");
}
