/**
 * The graph of a run made ready for drawing: which ring each task is on, and which tasks are drawn as one mark.
 * Pure: numbers in, numbers out; tasks are indexes into the run's columns.
 */

export interface RadarGraph {
  ids: readonly string[];
  /** The task's name, an index into `names`. */
  name: readonly number[];
  names: readonly string[];
  /** Flat pairs: upstream, downstream. */
  edges: readonly number[];
}

export type MarkKind = "task" | "arc" | "chain";

/** What is drawn as one thing: a task, a fan-out as an arc, or a chain as a capsule. */
export interface Group {
  key: string;
  kind: MarkKind;
  label: string;
  members: number[];
}

export interface Link {
  from: number;
  to: number;
  /** How many edges between tasks it stands for. */
  weight: number;
}

export interface Grouped {
  groups: Group[];
  links: Link[];
  /** Ring of each group, 0 innermost. */
  ring: number[];
  rings: number;
  /** Edges that closed a cycle and were left out of the layering. */
  cyclic: number;
}

/** More marks than this are collapsed where they can be. */
export const MOST_MARKS = 150;
const SMALLEST_ARC = 8;
const SHORTEST_CHAIN = 6;
/** With more rings than this, chains collapse however few tasks there are. */
const MOST_RINGS = 40;

export interface Collapse {
  /** Tasks that stay visible on their own: failed or selected ones. */
  keep: ReadonlySet<number>;
  /** Keys of arcs and chains that a person unfolded. */
  unfolded: ReadonlySet<string>;
  most?: number;
}

export function group(graph: RadarGraph, collapse: Collapse): Grouped {
  const n = graph.ids.length;
  const singles = Array.from({ length: n }, (_, i) => single(graph, i));
  const edges = pairs(graph.edges, n);
  const whole = layered(singles, mergeEdges(edges, identity(n)));
  if (n <= (collapse.most ?? MOST_MARKS) && whole.rings <= MOST_RINGS) return whole;
  const groups = n > (collapse.most ?? MOST_MARKS) ? collapseFanOuts(graph, whole.ring, collapse) : singles;
  const fanned = layered(groups, mergeEdges(edges, groupOf(groups, n)));
  const chained = collapseChains(graph, fanned, collapse);
  return chained === groups ? fanned : layered(chained, mergeEdges(edges, groupOf(chained, n)));
}

function single(graph: RadarGraph, i: number): Group {
  const id = graph.ids[i] ?? "";
  return { key: id, kind: "task", label: graph.names[graph.name[i] ?? 0] ?? "", members: [i] };
}

function identity(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** Unknown parents (an index out of range) and edges from a task to itself are ignored. */
function pairs(flat: readonly number[], n: number): [number, number][] {
  const out: [number, number][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const s = flat[i] ?? -1;
    const t = flat[i + 1] ?? -1;
    if (s !== t && s >= 0 && t >= 0 && s < n && t < n) out.push([s, t]);
  }
  return out;
}

function groupOf(groups: readonly Group[], n: number): number[] {
  const out = new Array<number>(n).fill(0);
  groups.forEach((g, i) => g.members.forEach((m) => (out[m] = i)));
  return out;
}

function mergeEdges(edges: readonly [number, number][], of: readonly number[]): Link[] {
  const byKey = new Map<number, Link>();
  const n = of.length + 1;
  for (const [s, t] of edges) {
    const from = of[s] ?? 0;
    const to = of[t] ?? 0;
    if (from === to) continue;
    const known = byKey.get(from * n + to);
    if (known) known.weight += 1;
    else byKey.set(from * n + to, { from, to, weight: 1 });
  }
  return [...byKey.values()];
}

/** Rings by longest path (Kahn, O(V + E)). What is left in a cycle is entered at its first member. */
function layered(groups: Group[], links: Link[]): Grouped {
  const n = groups.length;
  const out: number[][] = Array.from({ length: n }, () => []);
  const waitsFor = new Array<number>(n).fill(0);
  for (const { from, to } of links) {
    out[from]?.push(to);
    waitsFor[to] = (waitsFor[to] ?? 0) + 1;
  }
  const ring = new Array<number>(n).fill(0);
  const done = new Array<boolean>(n).fill(false);
  const ready = identity(n).filter((i) => waitsFor[i] === 0);
  let next = 0;
  for (let seen = 0; seen < n; seen++) {
    while (ready.length === 0 && next < n) {
      if (!done[next] && !ready.includes(next)) ready.push(next);
      next += 1;
    }
    const i = ready.pop();
    if (i === undefined) break;
    if (done[i]) continue;
    done[i] = true;
    for (const to of out[i] ?? []) {
      if (done[to]) continue;
      ring[to] = Math.max(ring[to] ?? 0, (ring[i] ?? 0) + 1);
      waitsFor[to] = (waitsFor[to] ?? 0) - 1;
      if (waitsFor[to] === 0) ready.push(to);
    }
  }
  const forward = links.filter(({ from, to }) => (ring[from] ?? 0) < (ring[to] ?? 0));
  const rings = n === 0 ? 0 : Math.max(...ring.slice(0, 1), ringMax(ring)) + 1;
  return { groups, links: forward, ring, rings, cyclic: links.length - forward.length };
}

function ringMax(ring: readonly number[]): number {
  let most = 0;
  for (const r of ring) most = Math.max(most, r);
  return most;
}

/** Tasks of one name on one ring become an arc, except those that are to be seen on their own. */
function collapseFanOuts(graph: RadarGraph, ring: readonly number[], { keep, unfolded }: Collapse): Group[] {
  const byKey = new Map<string, Group>();
  const out: Group[] = [];
  graph.ids.forEach((_, i) => {
    const key = `arc:${graph.names[graph.name[i] ?? 0]}:${ring[i]}`;
    if (keep.has(i) || unfolded.has(key)) {
      out.push(single(graph, i));
      return;
    }
    const known = byKey.get(key);
    if (known) known.members.push(i);
    else {
      const arc: Group = { key, kind: "arc", label: graph.names[graph.name[i] ?? 0] ?? "", members: [i] };
      byKey.set(key, arc);
      out.push(arc);
    }
  });
  return out.flatMap((g) =>
    g.kind === "arc" && g.members.length < SMALLEST_ARC ? g.members.map((i) => single(graph, i)) : [g],
  );
}

/** Paths of single tasks, one after the other and nothing else, become capsules. */
function collapseChains(graph: RadarGraph, fanned: Grouped, { keep, unfolded }: Collapse): Group[] {
  const { groups, links } = fanned;
  const into = new Array<number>(groups.length).fill(0);
  const next = new Map<number, number | null>();
  for (const { from, to } of links) {
    into[to] = (into[to] ?? 0) + 1;
    next.set(from, next.has(from) ? null : to);
  }
  const plain = (i: number): boolean => groups[i]?.kind === "task" && !groups[i].members.some((m) => keep.has(m));
  const follower = (i: number): number | null => {
    const to = next.get(i) ?? null;
    return to !== null && plain(i) && plain(to) && into[to] === 1 ? to : null;
  };
  const followed = new Set(groups.flatMap((_, i) => follower(i) ?? []));
  const swallowed = new Set<number>();
  const chains = new Map<number, Group>();
  groups.forEach((g, start) => {
    if (followed.has(start) || unfolded.has(`chain:${g.key}`)) return;
    const path = [start];
    for (let at = follower(start); at !== null; at = follower(at)) path.push(at);
    if (path.length < SHORTEST_CHAIN) return;
    path.forEach((i) => swallowed.add(i));
    const members = path.flatMap((i) => groups[i]?.members ?? []);
    const label = `${g.label} … ${graph.names[graph.name[members.at(-1) ?? 0] ?? 0]}`;
    chains.set(start, { key: `chain:${g.key}`, kind: "chain", label, members });
  });
  if (chains.size === 0) return groups;
  return groups.flatMap((g, i) => chains.get(i) ?? (swallowed.has(i) ? [] : [g]));
}
