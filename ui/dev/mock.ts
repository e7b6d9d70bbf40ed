/**
 * Vite middleware that answers the HTTP contract from `World`, for development and pictures.
 * LEGATO_MOCK=empty shows a new server; LEGATO_MOCK=broken makes every call fail.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Connect, Plugin } from "vite";

import type { Counts, FlowRun, JournalEntry, LogLine, QueueFilter, RunRow, WorkQueue } from "../src/api/types";
import { isStateType } from "../src/api/states.ts";
import { World } from "./world.ts";

interface Call {
  world: World;
  parts: string[];
  query: URLSearchParams;
  body: unknown;
}

class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly hint = "",
  ) {
    super(title);
  }
}

export function mockApi(): Plugin {
  const mode = process.env["LEGATO_MOCK"] ?? "";
  const attach = (use: (handler: Connect.NextHandleFunction) => void): void => {
    const world = new World(Date.now(), mode === "empty");
    use((request, response, next) => {
      if (!request.url?.startsWith("/api/")) return next();
      handle(world, mode, request, response).catch((e: unknown) => sendProblem(response, e));
    });
  };
  return {
    name: "legato-mock-api",
    configureServer: (server) => attach((h) => server.middlewares.use(h)),
    configurePreviewServer: (server) => attach((h) => server.middlewares.use(h)),
  };
}

async function handle(world: World, mode: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  const parts = url.pathname.split("/").filter(Boolean).slice(1).map(decodeURIComponent);
  if (mode === "broken") throw new Problem(503, "The database is locked", "Check: legato doctor");
  if (parts.join("/") === "events/stream") return stream(world, request, response);
  const body = await readBody(request);
  const answer = route(request.method ?? "GET", { world, parts, query: url.searchParams, body });
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer ?? null));
}

function sendProblem(response: ServerResponse, e: unknown): void {
  const problem = e instanceof Problem ? e : new Problem(500, e instanceof Error ? e.message : "unknown");
  const { status, title, hint } = problem;
  const body = { status, title, detail: `${title}.`, code: "mock", hint, request_id: "req-mock-1" };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text ? JSON.parse(text) : undefined;
}

function stream(world: World, request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.write(": hello\n\n");
  let journal: JournalEntry[] = [];
  const logs = new Map<string, unknown>();
  const stop = ((): (() => void) => {
    const listener = (event: "journal" | "logs" | "changed", data: unknown): void => {
      if (event === "journal") journal.push(...(data as JournalEntry[]));
      else if (event === "logs") logs.set((data as LogLine).flow_run_id, data);
      else response.write(`event: changed\ndata: ${JSON.stringify(data)}\n\n`);
    };
    world.listeners.add(listener);
    return () => world.listeners.delete(listener);
  })();
  const flush = setInterval(() => {
    if (journal.length > 0)
      response.write(`event: journal\nid: ${journal.at(-1)?.pos}\ndata: ${JSON.stringify(journal)}\n\n`);
    for (const data of logs.values()) response.write(`event: logs\ndata: ${JSON.stringify(data)}\n\n`);
    journal = [];
    logs.clear();
  }, 250);
  request.on("close", () => {
    clearInterval(flush);
    stop();
  });
}

function route(method: string, call: Call): unknown {
  const { parts } = call;
  const key = `${method} ${parts.slice(0, parts[0] === "ui" ? 2 : 1).join("/")}`;
  const handler = ROUTES[key];
  if (!handler) throw new Problem(404, `No route ${method} /api/${parts.join("/")}`);
  return handler(call);
}

const ROUTES: Record<string, (call: Call) => unknown> = {
  "GET ui/home": home,
  "GET ui/runs": (c) => (c.parts[2] === undefined ? runsPage(c) : c.parts[3] === "logs" ? logsPage(c) : runPage(c)),
  "GET ui/tasks": taskPage,
  "GET ui/deployments": (c) =>
    c.parts[2] ? deploymentPage(c) : { deployments: c.world.deployments.map((d) => deploymentRow(c.world, d)) },
  "GET ui/queues": (c) => (c.parts[2] ? queuePage(c) : { queues: c.world.queues.map((q) => queueRow(c.world, q)) }),
  "POST ui/queues": (c) => preview(c.world, (c.body ?? {}) as QueueFilter),
  "GET ui/search": search,
  "GET flow-runs": (c) => {
    const run = need(c.world.find(c.parts[1] ?? ""), "run");
    const ids = new Set([run.id]);
    return c.parts[2] === "transitions" ? c.world.journal.filter((e) => e.kind === "flow" && ids.has(e.run_id)) : run;
  },
  "POST flow-runs": cancel,
  "POST deployments": deploymentAction,
  "POST work-queues": queueAction,
  "PUT work-queues": putQueue,
};

function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Problem(404, `There is no such ${what}`, "It may have been deleted.");
  return value;
}

function row(world: World, run: FlowRun): RunRow {
  const lines = world.logs.get(run.id) ?? [];
  return {
    ...run,
    tasks: world.counts(run.id),
    warnings: lines.filter((l) => l.level === 30).length,
    errors: lines.filter((l) => l.level >= 40).length,
    median_s: run.flow_name === "model-training" ? 32 : null,
  };
}

function newestFirst(runs: FlowRun[]): FlowRun[] {
  return runs.toSorted((a, b) => b.expected_start_at.localeCompare(a.expected_start_at));
}

function countTypes(runs: FlowRun[]): Counts {
  const out: Counts = {};
  for (const r of runs) out[r.state.type] = (out[r.state.type] ?? 0) + 1;
  return out;
}

function runsPage({ world, query }: Call): unknown {
  const states = (query.get("state") ?? "").split(",").filter(isStateType);
  const q = query.get("q")?.toLowerCase() ?? "";
  const matches = (r: FlowRun): boolean =>
    (!q || r.name.includes(q) || r.flow_name.includes(q) || r.id.startsWith(q)) &&
    (!query.get("flow") || r.flow_name === query.get("flow")) &&
    (!query.get("deployment") || r.deployment_name === query.get("deployment")) &&
    (!query.get("queue") || r.work_queue === query.get("queue")) &&
    query.getAll("tag").every((t) => r.tags?.includes(t)) &&
    (!query.get("from") || r.expected_start_at >= (query.get("from") ?? "")) &&
    (!query.get("to") || r.expected_start_at <= (query.get("to") ?? "")) &&
    (!query.get("top_level") || !r.parent_run_id);
  const inScope = newestFirst(world.runs.filter(matches));
  const found = states.length > 0 ? inScope.filter((r) => states.includes(r.state.type)) : inScope;
  const from = Number(query.get("cursor") ?? 0);
  const to = from + Number(query.get("limit") ?? 100);
  return {
    runs: found.slice(from, to).map((r) => row(world, r)),
    cursor: to < found.length ? String(to) : null,
    counts: countTypes(inScope),
    tags: [...new Set(world.runs.flatMap((r) => r.tags ?? []))].sort(),
    flows: [...new Set(world.runs.map((r) => r.flow_name))].sort(),
  };
}

function runPage({ world, parts }: Call): unknown {
  const run = need(world.find(parts[2] ?? ""), "run");
  const lines = world.logs.get(run.id) ?? [];
  return {
    run,
    answer: world.answer(run),
    deployment: world.deployments.find((d) => d.id === run.deployment_id) ?? null,
    parent: world.runs.find((r) => r.id === run.parent_run_id) ?? null,
    children: world.runs.filter((r) => r.parent_run_id === run.id),
    counts: world.counts(run.id),
    logs: {
      total: lines.length,
      warnings: lines.filter((l) => l.level === 30).length,
      errors: lines.filter((l) => l.level >= 40).length,
    },
    ...world.columns(run),
    median_s: run.flow_name === "model-training" ? 32 : null,
    position: world.journal.length,
  };
}

function logsPage({ world, parts, query }: Call): unknown {
  const run = need(world.find(parts[2] ?? ""), "run");
  const q = query.get("q")?.toLowerCase() ?? "";
  const found = (world.logs.get(run.id) ?? []).filter(
    (l) =>
      l.level >= Number(query.get("min_level") ?? 0) &&
      (!query.get("task") || l.task_run_id === query.get("task")) &&
      (!q || l.message.toLowerCase().includes(q)),
  );
  const after = Number(query.get("after") ?? 0);
  const rest = found.filter((l) => (l.n ?? 0) > after);
  const lines = rest.slice(0, Number(query.get("limit") ?? 500));
  return { lines, next: lines.length < rest.length ? (lines.at(-1)?.n ?? null) : null, total: found.length };
}

function taskPage({ world, parts }: Call): unknown {
  const task = need(world.taskById.get(parts[2] ?? ""), "task run");
  return {
    task,
    transitions: world.journal.filter((e) => e.run_id === task.id),
    run: need(world.find(task.flow_run_id), "run"),
  };
}

function wordsOf(seconds: number): string {
  if (seconds === 86_400) return "every day at 02:00 (Europe/Rome)";
  return `every ${seconds / 60} min (Europe/Rome)`;
}

function deploymentRow(world: World, d: World["deployments"][number]): unknown {
  const name = `${d.flow_name}/${d.name}`;
  const runs = newestFirst(world.runs.filter((r) => r.deployment_name === name && r.started_at)).slice(0, 20);
  const planned = world.runs.filter((r) => r.deployment_name === name && r.state.type === "scheduled");
  const queue = d.name === "gpu" ? "gpu" : d.name === "dev" ? "dev" : "default";
  return {
    ...d,
    schedule_words: (d.schedules ?? []).map((s) => wordsOf(Number(s.schedule["interval_s"]))),
    next_run_at:
      planned
        .map((r) => r.expected_start_at)
        .filter((t) => Date.parse(t) > Date.now())
        .sort()[0] ?? null,
    last_runs: runs.map((r) => ({
      id: r.id,
      name: r.name,
      state: r.state.type,
      state_name: r.state.name,
      started_at: r.started_at,
      took_s: r.ended_at && r.started_at ? (Date.parse(r.ended_at) - Date.parse(r.started_at)) / 1000 : null,
    })),
    queues: [queue],
    live_agents: queue === "default" ? 2 : 0,
  };
}

function deploymentPage({ world, parts }: Call): unknown {
  const d = need(world.deploymentOf(parts[2] ?? "", parts[3] ?? ""), "deployment");
  const name = `${d.flow_name}/${d.name}`;
  const runs = world.runs.filter((r) => r.deployment_name === name);
  const past = newestFirst(runs.filter((r) => r.state.type !== "scheduled" || r.state.name === "Late"));
  return {
    deployment: deploymentRow(world, d),
    runs: past.slice(0, 100).map((r) => row(world, r)),
    upcoming: newestFirst(runs.filter((r) => r.state.type === "scheduled")).reverse(),
    next_fires: (d.schedules ?? []).map((s) => {
      const every = Number(s.schedule["interval_s"]);
      return {
        schedule_id: s.id,
        words: wordsOf(every),
        at: Array.from({ length: 10 }, (_, i) =>
          new Date((Math.floor(Date.now() / 1000 / every) + 1 + i) * every * 1000).toISOString(),
        ),
        notes: every === 86_400 ? ["On 28 March 2027 the clock skips 02:00: the run starts at 03:00."] : [],
      };
    }),
  };
}

function queueRow(world: World, q: WorkQueue): Record<string, unknown> {
  const agents = world.agents.filter((a) => a.queues.includes(q.name));
  const runs = world.runs.filter((r) => r.work_queue === q.name);
  const due = runs.filter((r) => r.state.type === "scheduled" && Date.parse(r.expected_start_at) < Date.now());
  const f = q.filter ?? {};
  const words = [
    f.tags?.length && `tagged ${f.tags.join(" and ")}`,
    f.deployments?.length && `from ${f.deployments.join(" or ")}`,
    f.flow_runners?.length && `started by ${f.flow_runners.join(" or ")}`,
  ].filter(Boolean);
  return {
    queue: q,
    running: runs.filter((r) => r.state.type === "running").length,
    waiting: due.length,
    late: due.filter((r) => r.state.name === "Late").length,
    agents: agents.length,
    oldest_due_at: due.map((r) => r.expected_start_at).sort()[0] ?? null,
    agents_list: agents,
    filter_words: words.length > 0 ? `runs ${words.join(", ")}` : "every run of a deployment",
  };
}

function queuePage({ world, parts }: Call): unknown {
  const q = need(
    world.queues.find((x) => x.name === parts[2] || x.id === parts[2]),
    "queue",
  );
  const runs = world.runs.filter((r) => r.work_queue === q.name);
  return {
    ...queueRow(world, q),
    upcoming: newestFirst(runs.filter((r) => r.state.type === "scheduled")).reverse(),
    running_runs: runs.filter((r) => r.state.type === "running"),
  };
}

function preview(world: World, filter: QueueFilter): unknown {
  const found = world.deployments.filter(
    (d) =>
      (filter.tags ?? []).every((t) => d.tags?.includes(t)) &&
      (!filter.deployments?.length || filter.deployments.includes(`${d.flow_name}/${d.name}`)) &&
      (!filter.flow_runners?.length || filter.flow_runners.includes(String(d.flow_runner?.["type"] ?? "subprocess"))),
  );
  const perHour = found.flatMap((d) => d.schedules ?? []).map((s) => 3600 / Number(s.schedule["interval_s"]));
  return {
    deployments: found.map((d) => `${d.flow_name}/${d.name}`),
    runs_next_hour: Math.floor(perHour.reduce((a, b) => a + b, 0)),
  };
}

function home({ world }: Call): unknown {
  const day = world.runs.filter(
    (r) => Date.parse(r.expected_start_at) > Date.now() - 86_400_000 && Date.parse(r.expected_start_at) <= Date.now(),
  );
  const failed = newestFirst(day.filter((r) => r.state.type === "failed"));
  const late = world.runs.filter((r) => r.state.name === "Late");
  const paused = world.runs.filter((r) => r.state.type === "paused");
  const bars = Array.from({ length: 48 }, (_, i) => {
    const from = Math.floor(Date.now() / 1_800_000 - 47 + i) * 1_800_000;
    const within = day.filter(
      (r) => Date.parse(r.expected_start_at) >= from && Date.parse(r.expected_start_at) < from + 1_800_000,
    );
    const c = countTypes(within);
    return {
      from: new Date(from).toISOString(),
      completed: c.completed ?? 0,
      failed: (c.failed ?? 0) + (c.crashed ?? 0),
      other: within.length - (c.completed ?? 0) - (c.failed ?? 0) - (c.crashed ?? 0),
    };
  });
  const ok = Math.round((100 * (countTypes(day).completed ?? 0)) / Math.max(1, day.length));
  return {
    sentence:
      world.runs.length > 0
        ? `3 things need you. ${day.length} runs in 24 h, ${ok}% ok. 2 agents live.`
        : "Nothing has run yet.",
    counts: countTypes(day),
    attention: [
      ...(failed[0]
        ? [
            {
              kind: "failed",
              run: failed[0],
              title: "model-training/prod: ValueError: no such column 'PULocationID'",
              detail: `First at 16:55, last in run ${failed[0].name}.`,
              hint: `legato run logs ${failed[0].name}`,
              count: failed.length,
            },
          ]
        : []),
      ...(late[0]
        ? [
            {
              kind: "late",
              run: late[0],
              title: "etl/gpu: 3 runs late by up to 12 min",
              detail: "Queue gpu has no live agent.",
              hint: "legato agent start gpu",
              count: late.length,
            },
          ]
        : []),
      ...(paused[0]
        ? [
            {
              kind: "paused",
              run: paused[0],
              title: "etl/patient-ibis waits for a person",
              detail: "approve_prices asks for a value.",
              count: 1,
            },
          ]
        : []),
    ],
    running: newestFirst(world.runs.filter((r) => r.state.type === "running")).map((r) => row(world, r)),
    upcoming: newestFirst(
      world.runs.filter((r) => r.state.name === "Scheduled" && Date.parse(r.expected_start_at) > Date.now()),
    )
      .reverse()
      .slice(0, 10),
    agents: world.agents.map((a) => ({ ...a, last_seen_at: new Date(Date.now() - 3_000).toISOString() })),
    history: world.runs.length > 0 ? bars : [],
  };
}

function search({ world, query }: Call): unknown {
  const q = query.get("q")?.toLowerCase() ?? "";
  const runs = newestFirst(world.runs)
    .filter((r) => r.name.includes(q) || r.id.startsWith(q) || r.flow_name.includes(q))
    .slice(0, 8);
  return {
    items: [
      ...world.deployments
        .filter((d) => `${d.flow_name}/${d.name}`.includes(q))
        .map((d) => ({
          kind: "deployment",
          id: d.id,
          name: `${d.flow_name}/${d.name}`,
          detail: "",
          href: `deployments/${d.flow_name}/${d.name}`,
        })),
      ...world.queues
        .filter((x) => x.name.includes(q))
        .map((x) => ({ kind: "queue", id: x.id, name: x.name, detail: "", href: `queues/${x.name}` })),
      ...runs.map((r) => ({
        kind: "run",
        id: r.id,
        name: r.name,
        detail: `${r.flow_name}, ${r.state.name}`,
        href: `runs/${r.id}`,
      })),
    ],
  };
}

function cancel({ world, parts }: Call): unknown {
  const run = need(world.find(parts[1] ?? ""), "run");
  const asked = { ...run, cancel_requested_at: new Date().toISOString() };
  world.runs[world.runs.findIndex((r) => r.id === run.id)] = asked;
  setTimeout(() => world.setRun(world.find(run.id) ?? asked, "cancelled", Date.now()), 2_500);
  return asked;
}

function deploymentAction({ world, parts, body }: Call): unknown {
  const d = need(
    world.deployments.find((x) => x.id === parts[1]),
    "deployment",
  );
  if (parts[2] === "runs") {
    const asked = (body ?? {}) as { parameters?: FlowRun["parameters"]; name?: string; tags?: string[] };
    const run = world.addRun(
      d.flow_name,
      Date.now(),
      { type: "scheduled", name: "Scheduled", at: new Date().toISOString() },
      {
        deployment_id: d.id,
        deployment_name: `${d.flow_name}/${d.name}`,
        parameters: asked.parameters ?? {},
        tags: [...(d.tags ?? []), ...(asked.tags ?? [])],
        trigger: "manual from the web UI",
        work_queue: "default",
        ...(asked.name && { name: asked.name }),
      },
    );
    setTimeout(() => world.setRun(run, "running", Date.now()), 2_000);
    return run;
  }
  d.paused = parts[2] === "pause";
  world.emit("changed", { what: "deployment" });
  return d;
}

function queueAction({ world, parts }: Call): unknown {
  const q = need(
    world.queues.find((x) => x.id === parts[1]),
    "queue",
  );
  q.paused = parts[2] === "pause";
  world.emit("changed", { what: "queue" });
  return queueRow(world, q);
}

function putQueue({ world, body }: Call): unknown {
  const wanted = body as WorkQueue;
  if (world.queues.some((q) => q.name === wanted.name && q.id !== wanted.id))
    throw new Problem(409, `A queue named ${wanted.name} exists`, "Choose another name.");
  const queue = { ...wanted, id: wanted.id || world.newId() };
  world.queues.push(queue);
  world.emit("changed", { what: "queue" });
  return queueRow(world, queue);
}
