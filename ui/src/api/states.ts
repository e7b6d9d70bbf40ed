/**
 * The states of a run, exactly as `legato.core.states` has them (GET api/ui/states says the same).
 * Nothing else in the UI may know which states there are; colours and shapes hang on the type, icons on the name.
 */

export const STATES = [
  {
    type: "scheduled",
    names: ["Scheduled", "Late", "AwaitingRetry"],
    final: false,
    initial: true,
    next: ["cancelled", "crashed", "pending", "running", "scheduled"],
  },
  {
    type: "pending",
    names: ["Pending"],
    final: false,
    initial: true,
    next: ["cancelled", "completed", "crashed", "failed", "running", "scheduled"],
  },
  {
    type: "running",
    names: ["Running", "Retrying"],
    final: false,
    initial: true,
    next: ["cancelled", "completed", "crashed", "failed", "paused", "scheduled"],
  },
  {
    type: "paused",
    names: ["Paused", "Suspended"],
    final: false,
    initial: false,
    next: ["cancelled", "crashed", "failed", "running", "scheduled"],
  },
  { type: "completed", names: ["Completed", "Cached", "Skipped"], final: true, initial: false, next: [] },
  { type: "failed", names: ["Failed", "TimedOut", "UpstreamFailed"], final: true, initial: false, next: [] },
  { type: "crashed", names: ["Crashed"], final: true, initial: false, next: [] },
  { type: "cancelled", names: ["Cancelled"], final: true, initial: false, next: [] },
] as const;

export type StateType = (typeof STATES)[number]["type"];
export type StateName = (typeof STATES)[number]["names"][number];

export const STATE_TYPES: readonly StateType[] = STATES.map((s) => s.type);

const FINAL: ReadonlySet<StateType> = new Set(STATES.filter((s) => s.final).map((s) => s.type));
const NEXT: ReadonlyMap<StateType, readonly StateType[]> = new Map(STATES.map((s) => [s.type, s.next]));

export function isFinal(type: StateType): boolean {
  return FINAL.has(type);
}

/** Whether the rules let a run go from `from` to `to` within one attempt: what a button may offer. */
export function mayFollow(from: StateType, to: StateType): boolean {
  return NEXT.get(from)?.includes(to) ?? false;
}

export function isStateType(value: string): value is StateType {
  return (STATE_TYPES as readonly string[]).includes(value);
}

/** The word for a type when no state's own name is at hand: "Failed". */
export function wordOf(type: StateType): string {
  return type.charAt(0).toUpperCase() + type.slice(1);
}
