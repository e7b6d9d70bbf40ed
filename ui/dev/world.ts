/**
 * A believable small world for developing the UI without a server: seeded, so that pictures can be compared, with one
 * run that advances. It speaks the records of src/api/types.ts, so the compiler keeps it to the contract.
 */

import type {
  Agent,
  Answer,
  Counts,
  Deployment,
  FlowRun,
  JournalEntry,
  LogLine,
  State,
  TaskColumns,
  TaskRun,
  WorkQueue,
} from "../src/api/types";
import { isFinal, type StateType } from "../src/api/states.ts";

export type Listener = (event: "journal" | "logs" | "changed", data: unknown, pos?: number) => void;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ADJECTIVES =
  "amber brave calm dapper eager fuzzy gentle happy icy jolly keen lucid mellow noble quiet rapid solid tidy".split(
    " ",
  );
const ANIMALS = "ant bear crane deer eagle fox gecko heron ibis jay koala lynx moth newt otter panda quail raven".split(
  " ",
);
const DEFAULT_NAME: Record<StateType, string> = {
  scheduled: "Scheduled",
  pending: "Pending",
  running: "Running",
  paused: "Paused",
  completed: "Completed",
  failed: "Failed",
  crashed: "Crashed",
  cancelled: "Cancelled",
};

interface Step {
  name: string;
  after?: string[];
  label?: string;
  /** Seconds. */
  took?: number;
  state?: StateType;
  stateName?: string;
  sub?: string;
}

const TRAINING: Step[] = [
  { name: "validate", label: "validate", took: 3, sub: "child" },
  { name: "read_dataframe", label: "read_dataframe-0", took: 5 },
  { name: "read_dataframe", label: "read_dataframe-1", took: 6 },
  { name: "add_features", label: "add_features-0", after: ["read_dataframe-0", "read_dataframe-1"], took: 4 },
  ...[0, 1, 2, 3, 4, 5].map((i) => ({
    name: "train",
    label: `train-${i}`,
    after: ["add_features-0"],
    took: 8 + ((i * 7) % 5),
  })),
  { name: "select", label: "select-0", after: [0, 1, 2, 3, 4, 5].map((i) => `train-${i}`), took: 2 },
  { name: "report", label: "report-0", after: ["select-0", "add_features-0"], took: 1.5 },
];

export class World {
  runs: FlowRun[] = [];
  tasks = new Map<string, TaskRun[]>();
  taskById = new Map<string, TaskRun>();
  logs = new Map<string, LogLine[]>();
  journal: JournalEntry[] = [];
  deployments: Deployment[] = [];
  queues: WorkQueue[] = [];
  agents: Agent[] = [];
  listeners = new Set<Listener>();

  #random = random(7);
  #ids = 0;
  #lineNumber = 0;

  constructor(
    readonly now: number,
    empty: boolean,
  ) {
    if (!empty) this.#seed();
  }

  iso(ms: number): string {
    return new Date(ms).toISOString();
  }

  newId(): string {
    this.#ids += 1;
    const tail = Math.floor(this.#random() * 2 ** 40)
      .toString(16)
      .padStart(12, "0");
    const time = (this.now + this.#ids).toString(16).padStart(12, "0");
    return `${time.slice(0, 8)}-${time.slice(8)}-7${(this.#ids % 4096).toString(16).padStart(3, "0")}-9abc-${tail}`;
  }

  newName(): string {
    const pick = (from: string[]): string => from[Math.floor(this.#random() * from.length)] ?? "calm";
    return `${pick(ADJECTIVES)}-${pick(ANIMALS)}`;
  }

  // ------------------------------------------------------------------------------- reading

  find(idOrName: string): FlowRun | undefined {
    return this.runs.findLast(
      (r) => r.id === idOrName || r.name === idOrName || (idOrName.length >= 6 && r.id.startsWith(idOrName)),
    );
  }

  counts(runId: string): Counts {
    const out: Counts = {};
    for (const t of this.tasks.get(runId) ?? []) out[t.state.type] = (out[t.state.type] ?? 0) + 1;
    return out;
  }

  columns(run: FlowRun): { tasks: TaskColumns; edges: number[] } {
    const tasks = this.tasks.get(run.id) ?? [];
    const t0 = Date.parse(run.started_at ?? run.created_at);
    const names = [...new Set(tasks.map((t) => t.key.split(".").at(-1) ?? ""))];
    const index = new Map(tasks.map((t, i) => [t.id, i]));
    const ms = (at: string | null | undefined): number | null => (at ? Date.parse(at) - t0 : null);
    return {
      tasks: {
        t0: this.iso(t0),
        ids: tasks.map((t) => t.id),
        names,
        name_ix: tasks.map((t) => names.indexOf(t.key.split(".").at(-1) ?? "")),
        label: tasks.map((t) => t.name),
        state: tasks.map((t) => t.state.type),
        state_name: tasks.map((t) => t.state.name),
        created_ms: tasks.map((t) => ms(t.created_at)),
        start_ms: tasks.map((t) => ms(t.started_at)),
        end_ms: tasks.map((t) => ms(t.ended_at)),
        attempt: tasks.map((t) => t.attempt ?? 1),
        sub: tasks.map((t) =>
          t.key === "flow.validate" ? (this.runs.find((r) => r.parent_run_id === run.id)?.id ?? null) : null,
        ),
      },
      edges: tasks.flatMap((t, i) => (t.upstream ?? []).flatMap((u) => [index.get(u) ?? 0, i])),
    };
  }

  answer(run: FlowRun): Answer {
    const tasks = this.tasks.get(run.id) ?? [];
    const c = this.counts(run.id);
    const failed = tasks.find((t) => t.error);
    const took = run.started_at && run.ended_at ? (Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000 : 0;
    switch (run.state.type) {
      case "failed":
        return {
          kind: "failed",
          sentences: [
            `Failed at ${failed?.name ?? "the flow itself"}: ${run.error?.type ?? "Error"}: ${run.error?.message ?? ""}`,
            `${c.completed ?? 0} of ${tasks.length} tasks completed, ${c.pending ?? 0} never ran. The same error in 6 of the last 20 runs, first at 16:55`,
          ],
          hint: `legato run logs ${run.name}`,
          task_run_id: failed?.id ?? null,
        };
      case "crashed":
        return {
          kind: "crashed",
          sentences: [
            "Crashed: the agent w-2 on gpu-box went away",
            "Its lease ran out 35 s after the last heartbeat",
            "The flow's policy for lost runs is to stay crashed",
          ],
          hint: `legato run logs ${run.name}`,
        };
      case "scheduled":
        return run.state.name === "Late"
          ? {
              kind: "waiting",
              sentences: ["Late by 12 min: no agent has looked at queue 'gpu' for 14 min", "3 runs are before it"],
              hint: "legato agent start gpu",
            }
          : { kind: "waiting", sentences: ["Waiting for its time", `Due at ${run.expected_start_at}`], hint: "" };
      case "running":
        return {
          kind: "running",
          sentences: [
            `${c.completed ?? 0} of ${tasks.length} tasks done, ${c.running ?? 0} running`,
            "Slowest so far: add_features-0 (4.0 s)",
            "Usually takes 42 s",
          ],
        };
      case "paused":
        return {
          kind: "paused",
          sentences: ["Paused for 3 min: asks 'Approve the prices?'"],
        };
      case "cancelled":
        return { kind: "cancelled", sentences: ["Cancelled by ana", "2 tasks were running and were stopped"] };
      default:
        return {
          kind: "completed",
          sentences: [
            `Completed in ${took.toFixed(0)} s, like the median of 42 s`,
            `${tasks.length} tasks, ${tasks.filter((t) => t.state.name === "Cached").length} from the cache`,
            "Result: RMSE 7.758",
          ],
        };
    }
  }

  // ------------------------------------------------------------------------------- changing

  setRun(run: FlowRun, type: StateType, at: number, message = "", name = DEFAULT_NAME[type]): FlowRun {
    const state: State = { type, name, at: this.iso(at), ...(message && { message }) };
    const next: FlowRun = { ...run, state, seq: (run.seq ?? 1) + 1, attempt: run.attempt || 1 };
    if (type === "running" && !next.started_at) next.started_at = state.at;
    if (isFinal(type)) next.ended_at = state.at;
    this.runs[this.runs.findIndex((r) => r.id === run.id)] = next;
    this.#record("flow", next.id, next.id, next.seq ?? 1, next.attempt ?? 1, state);
    return next;
  }

  setTask(task: TaskRun, type: StateType, at: number, name = DEFAULT_NAME[type]): TaskRun {
    task.state = { type, name, at: this.iso(at) };
    task.seq = (task.seq ?? 1) + 1;
    if (type === "running") task.started_at = task.state.at;
    if (isFinal(type)) task.ended_at = task.state.at;
    this.#record("task", task.id, task.flow_run_id, task.seq, task.attempt ?? 1, task.state);
    return task;
  }

  log(runId: string, at: number, level: number, message: string, task: TaskRun | null = null): void {
    const lines = this.logs.get(runId) ?? [];
    this.#lineNumber += 1;
    const logger = task ? "legato.task_run" : "legato.flow_run";
    lines.push({
      flow_run_id: runId,
      at: this.iso(at),
      level,
      logger,
      message,
      n: this.#lineNumber,
      ...(task && { task_run_id: task.id }),
    });
    this.logs.set(runId, lines);
    this.emit("logs", { flow_run_id: runId, total: lines.length });
  }

  emit(event: "journal" | "logs" | "changed", data: unknown, pos?: number): void {
    for (const listener of this.listeners) listener(event, data, pos);
  }

  addRun(flow: string, at: number, state: State, more: Partial<FlowRun> = {}): FlowRun {
    const run: FlowRun = {
      id: this.newId(),
      flow_name: flow,
      name: this.newName(),
      state,
      seq: 1,
      created_at: this.iso(at),
      expected_start_at: this.iso(at),
      ...more,
    };
    this.runs.push(run);
    this.#record("flow", run.id, run.id, 1, 0, { ...state });
    return run;
  }

  #record(kind: "flow" | "task", runId: string, flowRunId: string, seq: number, attempt: number, state: State): void {
    const pos = this.journal.length + 1;
    const entry: JournalEntry = { pos, kind, run_id: runId, flow_run_id: flowRunId, seq, attempt, state };
    this.journal.push(entry);
    this.emit("journal", [entry], pos);
  }

  addTask(run: FlowRun, step: Step, byLabel: Map<string, TaskRun>, at: number): TaskRun {
    const task: TaskRun = {
      id: this.newId(),
      flow_run_id: run.id,
      key: `${step.sub ? "flow" : "train"}.${step.name}`,
      name: step.label ?? step.name,
      state: { type: "pending", name: "Pending", at: this.iso(at) },
      seq: 0,
      created_at: this.iso(at),
      upstream: (step.after ?? []).flatMap((l) => byLabel.get(l)?.id ?? []),
      retries: step.name === "train" ? 1 : 0,
    };
    byLabel.set(task.name, task);
    this.tasks.set(run.id, [...(this.tasks.get(run.id) ?? []), task]);
    this.taskById.set(task.id, task);
    this.setTask(task, "pending", at);
    return task;
  }

  /** Plays `steps` into a run that began at `start`; steps with a `state` end so, and what depends on a failed one never runs. */
  play(run: FlowRun, steps: Step[], start: number): number {
    const byLabel = new Map<string, TaskRun>();
    const endOf = new Map<string, number>();
    let last = start;
    this.log(run.id, start, 20, `Using task runner 'ThreadTaskRunner' with 4 workers`);
    for (const step of steps) {
      const parents = (step.after ?? []).map((l) => byLabel.get(l)).filter((t) => t !== undefined);
      const ready = Math.max(start + 100, ...parents.map((p) => endOf.get(p.id) ?? start));
      const task = this.addTask(run, step, byLabel, ready);
      if (parents.some((p) => p.state.type !== "completed")) {
        endOf.set(task.id, ready);
        continue;
      }
      const begin = ready + 60 + Math.floor(this.#random() * 400);
      const end = begin + (step.took ?? 1) * 1000;
      this.#runTask(run, task, step, begin, end);
      endOf.set(task.id, end);
      last = Math.max(last, end);
    }
    this.logs.get(run.id)?.sort((a, b) => a.at.localeCompare(b.at));
    return last;
  }

  #runTask(run: FlowRun, task: TaskRun, step: Step, begin: number, end: number): void {
    if (step.stateName === "Cached") {
      this.setTask(task, "completed", begin, "Cached");
      this.log(run.id, begin, 20, `Reused the result of run 'amber-heron' (same inputs)`, task);
      return;
    }
    this.setTask(task, "running", begin);
    this.log(run.id, begin, 10, `Inputs: depth=${task.name.at(-1)} data=<DataFrame 61921 x 4>`, task);
    this.log(run.id, begin + 40, 20, `Started ${task.name}`, task);
    if (step.state === "running") return;
    if (step.state === "failed") {
      task.attempt = 2;
      task.error = failure();
      this.log(run.id, end - 4000, 30, `Attempt 1 of 2 failed, retrying in 3 s`, task);
      this.log(run.id, end, 40, `Task run failed with an exception:\n${failure().traceback}`, task);
    } else {
      if (this.#random() < 0.2)
        this.log(
          run.id,
          (begin + end) / 2,
          30,
          "\u001b[33mConvergenceWarning\u001b[0m: the maximum of 100 rounds was reached",
          task,
        );
      task.result = {
        type: "sklearn.linear_model.Lasso",
        size: 18_432,
        preview: "Lasso(alpha=0.01)",
        serializer: "pickle",
      };
      this.log(run.id, end, 20, `Finished in ${((end - begin) / 1000).toFixed(1)} s`, task);
    }
    this.setTask(task, step.state ?? "completed", end);
  }

  // ------------------------------------------------------------------------------- the seed

  #seed(): void {
    this.#seedDeployments();
    this.#seedHistory();
    this.#seedSpecimens();
    this.#seedPlanned();
    this.advanceForever();
  }

  #seedDeployments(): void {
    const at = this.iso(this.now - 9 * 24 * HOUR);
    const schedule = (seconds: number): Deployment["schedules"] => [
      { id: this.newId(), schedule: { interval_s: seconds, timezone: "Europe/Rome" }, active: true },
    ];
    const add = (flow: string, name: string, more: Partial<Deployment>): void => {
      const file = flow.replaceAll("-", "_");
      this.deployments.push({
        id: this.newId(),
        flow_name: flow,
        name,
        entrypoint: `${file}.py:main`,
        created_at: at,
        updated_at: at,
        bundle: "b2:3f2a91c07d",
        version: "3f2a91c",
        ...more,
      });
    };
    const schema = {
      type: "object",
      properties: {
        date: { type: "string", format: "date", title: "Date", description: "The month to train on, as YYYY-MM-DD" },
        max_depth: { type: "integer", default: 12, minimum: 1, maximum: 40, title: "Max depth" },
        model: { enum: ["lasso", "xgboost"], default: "lasso", title: "Model" },
        dry_run: { type: "boolean", default: false, title: "Dry run" },
        features: { type: "array", items: { type: "string" }, default: ["PU_DO", "trip_distance"] },
      },
      required: ["date"],
    };
    const parameters = { date: "2026-11-01", max_depth: 12 };
    add("model-training", "prod", {
      tags: ["ml", "prod"],
      description: "Trains the taxi-duration model and registers the best one.",
      schedules: schedule(300),
      parameters,
      parameter_schema: schema,
      flow_runner: { type: "subprocess" },
    });
    add("model-training", "dev", {
      tags: ["ml", "dev"],
      schedules: schedule(420),
      parameters,
      parameter_schema: schema,
      paused: true,
    });
    add("etl", "gpu", {
      tags: ["gpu"],
      schedules: schedule(900),
      flow_runner: { type: "docker", image: "legato/etl:3" },
    });
    add("etl", "nightly", { tags: ["etl"], schedules: schedule(86_400), flow_runner: { type: "subprocess" } });
    add("wide-flow", "adhoc", { tags: ["demo"], flow_runner: { type: "subprocess" } });

    const queue = (name: string, more: Partial<WorkQueue>): number =>
      this.queues.push({ id: this.newId(), name, created_at: at, ...more });
    queue("default", {
      description: "Everything that asks for nothing special",
      filter: { tags: ["prod"] },
      concurrency_limit: 8,
    });
    queue("gpu", { filter: { tags: ["gpu"], flow_runners: ["docker"] }, concurrency_limit: 2, priority: 10 });
    queue("dev", { filter: { deployments: ["model-training/dev"] }, paused: true });

    for (const [i, name] of ["w-1", "w-2"].entries()) {
      this.agents.push({
        id: this.newId(),
        name,
        queues: ["default"],
        started_at: this.iso(this.now - (i + 2) * HOUR),
        last_seen_at: this.iso(this.now - 3_000),
        host: `box-${i + 1}`,
        pid: 4100 + i,
        version: "0.1.0",
        capacity: 4,
        running: i === 0 ? 1 : 0,
      });
    }
  }

  deploymentOf(flow: string, name: string): Deployment | undefined {
    return this.deployments.find((d) => d.flow_name === flow && d.name === name);
  }

  #from(flow: string, name: string): Partial<FlowRun> {
    const d = this.deploymentOf(flow, name);
    return {
      deployment_id: d?.id ?? null,
      deployment_name: `${flow}/${name}`,
      tags: d?.tags ?? [],
      trigger: "schedule every 5 min",
      work_queue: name === "gpu" ? "gpu" : "default",
      agent_id: this.agents[1]?.id ?? null,
      flow_runner: "subprocess",
      parameters: { date: "2026-11-01", max_depth: 12 },
    };
  }

  #seedHistory(): void {
    for (let i = 0; i < 130; i++) {
      const at = this.now - 20 * MINUTE - i * 11 * MINUTE;
      const [flow, name] = i % 6 === 5 ? (["etl", "nightly"] as const) : (["model-training", "prod"] as const);
      const dice = this.#random();
      const type: StateType =
        dice < 0.06 ? "failed" : dice < 0.075 ? "crashed" : dice < 0.09 ? "cancelled" : "completed";
      const run = this.addRun(
        flow,
        at,
        { type: "scheduled", name: "Scheduled", at: this.iso(at) },
        this.#from(flow, name),
      );
      const running = this.setRun(run, "running", at + 300);
      const steps: Step[] = TRAINING.slice(1).map((s) => ({
        ...s,
        took: (s.took ?? 1) * (0.6 + this.#random() * 0.8),
      }));
      if (type !== "completed") steps[6] = { ...steps[6], name: "train", state: type };
      const end = this.play(running, steps, at + 300);
      this.setRun({ ...running, ...(type === "failed" && { error: failure() }) }, type, end);
    }
  }

  #seedSpecimens(): void {
    const training = (name: string, at: number, steps: Step[], type: StateType, more: Partial<FlowRun> = {}): void => {
      const planned = this.addRun(
        "model-training",
        at,
        { type: "scheduled", name: "Scheduled", at: this.iso(at) },
        { ...this.#from("model-training", "prod"), ...more, name },
      );
      const run = this.setRun(planned, "running", at + 200);
      const child = this.addRun(
        "validate",
        at + 300,
        { type: "running", name: "Running", at: this.iso(at + 300) },
        { parent_run_id: run.id, name: "validate" },
      );
      this.setRun({ ...child, started_at: this.iso(at + 300) }, "completed", at + 3_300);
      const end = this.play(run, steps, at + 200);
      if (type !== "running") this.setRun(this.runs.find((r) => r.id === run.id) ?? run, type, end + 300);
    };
    training(
      "amber-heron",
      this.now - 14 * MINUTE,
      TRAINING.map((s) => (s.name === "read_dataframe" ? { ...s, stateName: "Cached" } : s)),
      "completed",
    );
    training(
      "mutant-ant",
      this.now - 9 * MINUTE,
      TRAINING.map((s) => (s.label === "train-4" ? { ...s, state: "failed" } : s)),
      "failed",
      { error: failure() },
    );
    this.#wide("wide-flow", "brave-otter", 50, this.now - 6 * MINUTE);
    this.#wide("wide-flow", "vast-raven", 333, this.now - 30 * MINUTE);
    const crashed = this.addRun(
      "etl",
      this.now - 2 * HOUR,
      { type: "running", name: "Running", at: this.iso(this.now - 2 * HOUR) },
      { ...this.#from("etl", "nightly"), name: "solid-owl", started_at: this.iso(this.now - 2 * HOUR) },
    );
    this.setRun(crashed, "crashed", this.now - 2 * HOUR + 3 * MINUTE, "The agent's lease ran out");
    const paused = this.addRun(
      "etl",
      this.now - 25 * MINUTE,
      { type: "running", name: "Running", at: this.iso(this.now - 25 * MINUTE) },
      { name: "patient-ibis", started_at: this.iso(this.now - 25 * MINUTE) },
    );
    this.setRun(paused, "paused", this.now - 24 * MINUTE, "approve_prices asks for a value");
  }

  #wide(flow: string, name: string, n: number, at: number): void {
    const run = this.addRun(
      flow,
      at,
      { type: "running", name: "Running", at: this.iso(at) },
      { name, started_at: this.iso(at), flow_runner: "subprocess", trigger: "manual by ana" },
    );
    const steps: Step[] = [];
    for (let i = 0; i < n; i++) steps.push({ name: "read", label: `read-${i}`, took: 0.4 + this.#random() * 2 });
    for (let i = 0; i < n; i++)
      steps.push({
        name: "feat",
        label: `feat-${i}`,
        after: [`read-${i}`, ...(i % 5 === 0 ? [`read-${(i * 7) % n}`] : [])],
        took: 1 + this.#random() * 3,
        ...(i === 17 && { state: "failed" as const }),
      });
    for (let i = 0; i < n; i++)
      steps.push({
        name: "train",
        label: `train-${i}`,
        after: [`feat-${i}`],
        took: 2 + this.#random() * 4,
        ...(i % 23 === 3 && { state: "running" as const }),
      });
    steps.push({
      name: "select",
      label: "select-0",
      after: steps.filter((s) => s.name === "train").map((s) => s.label ?? ""),
      took: 1,
    });
    const end = this.play(run, steps, at);
    if (n < 100) this.setRun({ ...run, error: failure() }, "failed", end);
  }

  #seedPlanned(): void {
    for (let i = 0; i < 14; i++) {
      const at = this.now + (2 + i * 5) * MINUTE;
      const [flow, name] = i % 4 === 3 ? (["etl", "nightly"] as const) : (["model-training", "prod"] as const);
      this.addRun(
        flow,
        at,
        { type: "scheduled", name: "Scheduled", at: this.iso(this.now), due_at: this.iso(at) },
        { ...this.#from(flow, name), agent_id: null, due_at: this.iso(at) },
      );
    }
    for (let i = 0; i < 3; i++) {
      const at = this.now - (12 - i * 2) * MINUTE;
      this.addRun(
        "etl",
        at,
        { type: "scheduled", name: "Late", at: this.iso(at + 15_000), message: "queue gpu has no live agent" },
        { ...this.#from("etl", "gpu"), agent_id: null, due_at: this.iso(at) },
      );
    }
  }

  /** One training run after the other, in real time: what the stream shows. */
  advanceForever(): void {
    const at = Date.now();
    const planned = this.addRun(
      "model-training",
      at,
      { type: "scheduled", name: "Scheduled", at: this.iso(at) },
      { ...this.#from("model-training", "prod"), name: this.find("quiet-lynx") ? this.newName() : "quiet-lynx" },
    );
    const run = this.setRun(planned, "running", at);
    this.log(run.id, at, 20, "Using task runner 'ThreadTaskRunner' with 4 workers");
    const waiting = TRAINING.slice(1);
    const byLabel = new Map<string, TaskRun>();
    const endAt = new Map<TaskRun, number>();
    const tick = (): void => {
      const t = Date.now();
      for (const [task, end] of endAt) {
        if (end > t) continue;
        endAt.delete(task);
        this.log(run.id, t, 20, `Finished ${task.name}`, task);
        this.setTask(task, "completed", t);
      }
      while (waiting[0] && (waiting[0].after ?? []).every((l) => byLabel.get(l)?.state.type === "completed")) {
        const step = waiting.shift() as Step;
        const task = this.addTask(run, step, byLabel, t);
        this.setTask(task, "running", t);
        this.log(run.id, t, 20, `Started ${task.name}`, task);
        endAt.set(task, t + (step.took ?? 1) * 1000);
      }
      for (const task of endAt.keys())
        this.log(run.id, t, 10, `${task.name}: loss ${(this.#random() * 3).toFixed(4)}`, task);
      if (waiting.length > 0 || endAt.size > 0) return void setTimeout(tick, 900);
      this.setRun(this.find(run.id) ?? run, "completed", t);
      setTimeout(() => this.advanceForever(), 4_000);
    };
    setTimeout(tick, 300);
  }
}

function failure(): NonNullable<TaskRun["error"]> {
  return {
    type: "ValueError",
    message: "no such column 'PULocationID'",
    file: "train.py",
    line: 88,
    function: "train",
    source: [
      '    log.info("training with depth %d", depth)',
      "    frame = features(data)",
      '    frame = frame[["PULocationID", "DOLocationID", "trip_distance"]]',
      "    model = Lasso(alpha=0.01, max_iter=depth)",
      "    return model.fit(frame, target)",
    ].join("\n"),
    traceback: [
      "Traceback (most recent call last):",
      '  File "train.py", line 88, in train',
      '    frame = frame[["PULocationID", "DOLocationID", "trip_distance"]]',
      '  File "frames.py", line 41, in __getitem__',
      '    raise ValueError(f"no such column {name!r}")',
      "ValueError: no such column 'PULocationID'",
    ].join("\n"),
  };
}
