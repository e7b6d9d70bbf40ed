/**
 * The records of `legato.core.records` and the answers of docs/design/http-api.md, as they stand on the wire:
 * fields that equal their default are left out, so everything that has a default is optional here.
 */

import type { StateType } from "./states";

/** RFC 3339, UTC. */
export type Instant = string;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };
export type Counts = Partial<Record<StateType, number>>;

export interface State {
  type: StateType;
  name: string;
  at: Instant;
  message?: string;
  due_at?: Instant | null;
}

export interface Result {
  serializer?: string;
  type?: string;
  size?: number;
  hash?: string;
  inline?: string | null;
  key?: string | null;
  preview?: string;
  unavailable?: string;
}

export interface ErrorDetail {
  type: string;
  message: string;
  file?: string;
  line?: number;
  function?: string;
  source?: string;
  traceback?: string;
}

export interface FlowRun {
  id: string;
  flow_name: string;
  name: string;
  state: State;
  seq?: number;
  attempt?: number;
  created_at: Instant;
  expected_start_at: Instant;
  due_at?: Instant | null;
  started_at?: Instant | null;
  ended_at?: Instant | null;
  parameters?: JsonObject;
  tags?: string[];
  deployment_id?: string | null;
  deployment_name?: string | null;
  schedule_id?: string | null;
  trigger?: string;
  parent_run_id?: string | null;
  upstream?: string[];
  flow_runner?: string;
  work_queue?: string | null;
  agent_id?: string | null;
  lease_expires_at?: Instant | null;
  cancel_requested_at?: Instant | null;
  host?: string;
  pid?: number;
  retries?: number;
  on_lost?: "fail" | "retry";
  lost?: number;
  result?: Result | null;
  error?: ErrorDetail | null;
}

export interface TaskRun {
  id: string;
  flow_run_id: string;
  key: string;
  name: string;
  state: State;
  seq?: number;
  attempt?: number;
  flow_attempt?: number;
  created_at: Instant;
  started_at?: Instant | null;
  ended_at?: Instant | null;
  tags?: string[];
  upstream?: string[];
  cache_key?: string | null;
  cache_expires_s?: number | null;
  retries?: number;
  result?: Result | null;
  error?: ErrorDetail | null;
}

export interface LogLine {
  flow_run_id: string;
  at: Instant;
  level: number;
  logger: string;
  message: string;
  task_run_id?: string | null;
  n?: number;
}

export interface JournalEntry {
  pos: number;
  kind: "flow" | "task";
  run_id: string;
  flow_run_id: string;
  seq: number;
  attempt: number;
  state: State;
}

/** A schedule is shown by the words the server made of it; its own fields are only echoed. */
export interface DeploymentSchedule {
  id: string;
  schedule: JsonObject;
  active?: boolean;
  catchup?: "latest" | "all" | "none";
  version?: number;
  cursor_at?: Instant | null;
}

export interface Deployment {
  id: string;
  flow_name: string;
  name: string;
  entrypoint: string;
  created_at: Instant;
  updated_at: Instant;
  bundle?: string | null;
  storage?: string;
  description?: string;
  version?: string;
  parameters?: JsonObject;
  parameter_schema?: JsonObject;
  tags?: string[];
  flow_runner?: JsonObject;
  schedules?: DeploymentSchedule[];
  paused?: boolean;
  retries?: number;
}

export interface QueueFilter {
  tags?: string[];
  deployments?: string[];
  flow_runners?: string[];
}

export interface WorkQueue {
  id: string;
  name: string;
  created_at: Instant;
  description?: string;
  filter?: QueueFilter;
  priority?: number;
  concurrency_limit?: number | null;
  paused?: boolean;
}

export interface QueueStatus {
  queue: WorkQueue;
  running?: number;
  waiting?: number;
  late?: number;
  agents?: number;
  oldest_due_at?: Instant | null;
}

export interface Agent {
  id: string;
  name: string;
  queues: string[];
  started_at: Instant;
  last_seen_at: Instant;
  host?: string;
  pid?: number;
  version?: string;
  capacity?: number;
  running?: number;
  lingering?: string[];
  ended_at?: Instant | null;
}

export type ArtifactKind = "markdown" | "table" | "link" | "image" | "progress";

/** `data` by kind: see `legato.core.artifacts`. A brief list leaves out much data. */
export interface Artifact {
  id: string;
  kind: ArtifactKind;
  created_at: Instant;
  updated_at: Instant;
  key?: string | null;
  version?: number;
  title?: string;
  description?: string;
  data?: Json;
  flow_run_id?: string | null;
  task_run_id?: string | null;
}

export interface ArtifactPage {
  items: Artifact[];
  cursor?: string | null;
}

export interface Variable {
  name: string;
  value?: Json;
  tags?: string[];
  updated_at: Instant;
}

/** RFC 9457. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  hint?: string;
  request_id?: string;
}

// ------------------------------------------------------------------ answers made for one page each

export interface RunRow extends FlowRun {
  tasks?: Counts;
  warnings?: number;
  errors?: number;
  median_s?: number | null;
}

export interface RunsPage {
  runs: RunRow[];
  cursor?: string | null;
  counts?: Counts;
  tags?: string[];
  flows?: string[];
}

export type AnswerKind = "failed" | "crashed" | "waiting" | "running" | "paused" | "completed" | "cancelled";

/** Why a run is as it is: the same sentences as `legato why` prints. The first is the reason. */
export interface Answer {
  kind: AnswerKind;
  sentences: string[];
  /** The numbers in the sentences. */
  facts?: Record<string, unknown>;
  hint?: string;
  task_run_id?: string | null;
  /** What it failed with, where it began: the task's error, else the flow's. */
  error?: ErrorDetail | null;
}

/** One entry a task run or child flow run, in order of creation; see the contract. */
export interface TaskColumns {
  t0: Instant;
  ids: string[];
  names: string[];
  name_ix: number[];
  label: string[];
  state: StateType[];
  state_name: string[];
  created_ms: (number | null)[];
  start_ms: (number | null)[];
  end_ms: (number | null)[];
  attempt: number[];
  sub: (string | null)[];
}

export interface RunPage {
  run: FlowRun;
  answer?: Answer | null;
  deployment?: Deployment | null;
  parent?: FlowRun | null;
  children?: FlowRun[];
  counts?: Counts;
  logs?: { total?: number; warnings?: number; errors?: number };
  /** How many it has, up to 100; 101 means more. */
  artifacts?: number;
  tasks: TaskColumns;
  edges?: number[];
  median_s?: number | null;
  position?: number;
}

export interface TaskPage {
  task: TaskRun;
  transitions?: JournalEntry[];
  run: FlowRun;
  answer?: Answer | null;
}

export interface LogsPage {
  lines: LogLine[];
  next?: number | null;
  total?: number;
}

export interface LastRun {
  id: string;
  name: string;
  state: StateType;
  state_name: string;
  started_at?: Instant | null;
  took_s?: number | null;
}

export interface DeploymentRow extends Deployment {
  schedule_words?: string[];
  next_run_at?: Instant | null;
  last_runs?: LastRun[];
  queues?: string[];
  live_agents?: number;
}

export interface NextFires {
  schedule_id: string;
  words: string;
  at: Instant[];
  notes?: string[];
}

export interface DeploymentPage {
  deployment: DeploymentRow;
  runs?: RunRow[];
  upcoming?: FlowRun[];
  next_fires?: NextFires[];
}

export interface QueueRow extends QueueStatus {
  agents_list?: Agent[];
  filter_words?: string;
}

export interface QueuePage extends QueueRow {
  upcoming?: FlowRun[];
  /** The runs that `running` counts, at most a hundred of them. */
  running_runs?: FlowRun[];
}

export interface QueuePreview {
  deployments?: string[];
  runs_next_hour?: number;
}

export interface Attention {
  kind: string;
  run?: FlowRun | null;
  title: string;
  detail?: string;
  hint?: string;
  count?: number;
}

export interface HistoryBar {
  from: Instant;
  completed?: number;
  failed?: number;
  other?: number;
}

export interface HomePage {
  sentence: string;
  counts?: Counts;
  attention?: Attention[];
  running?: RunRow[];
  upcoming?: FlowRun[];
  agents?: Agent[];
  history?: HistoryBar[];
}

export interface SearchItem {
  kind: "run" | "flow" | "deployment" | "queue" | "artifact" | "variable";
  id: string;
  name: string;
  detail?: string;
  href: string;
}

export interface ServerInfo {
  version: string;
  database?: string;
  host?: string;
  started_at?: Instant;
  insecure?: boolean;
}
