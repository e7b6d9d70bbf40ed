/**
 * Where everything on the radar is, from the graph alone: states only repaint. Polar coordinates about the flow run's
 * disc; lengths in units of which a ring gap has up to 100. Pure; runs in a worker for large graphs.
 */

import { circularMean, TURN } from "./angles";
import { group, type Collapse, type Group, type Grouped, type RadarGraph } from "./graph";
import {
  better,
  crossings,
  depthFirst,
  evenly,
  keepPlaces,
  layersOf,
  sweep,
  type Apart,
  type Layers,
  type Ordered,
} from "./order";

export interface Mark extends Group {
  ring: number;
  angle: number;
  radius: number;
  /** Arcs: how much of the ring, in radians. Else 0. */
  span: number;
}

export interface Polar {
  angle: number;
  radius: number;
}

export interface MarkLink {
  from: number;
  to: number;
  weight: number;
  /** From mark to mark, through the virtual nodes between. */
  path: Polar[];
}

export interface Ring {
  radius: number;
  width: number;
  tasks: number;
}

export interface RadarLayout {
  marks: Mark[];
  links: MarkLink[];
  rings: Ring[];
  /** Of the picture, outer ring included. */
  radius: number;
  /** Of the disc in the middle. */
  centre: number;
  /** The least distance between two marks: discs are drawn no larger. */
  pitch: number;
  tasks: number;
  crossings: number;
  /** What drawing in the order of submission would have had. */
  crossingsAsSubmitted: number;
  cyclic: number;
}

export interface LayoutRequest {
  graph: RadarGraph;
  keep?: number[];
  unfolded?: string[];
  /** Angles of the last picture by mark's key: marks stay where people saw them. */
  previous?: Record<string, number>;
  most?: number;
}

const SWEEPS = 12;
/** A kept picture whose edges run this much further sideways than a fresh one's has strayed too far. */
const STRAYED = 1.5;
/** Radians sideways below which a kept picture without crossings is not even compared. */
const STRAY_SIDEWAYS = 3;
/** Above this many edge pieces each sweep is dear; fewer of them do. */
const MANY_SEGMENTS = 20_000;
/** Room a disc wants on its ring, and between lanes. */
const PITCH = 24;
const LANE = 20;
/** Room an edge wants on each side where it passes a ring. */
const EDGE_ROOM = 16;
const LARGEST_SEPARATION = 1;
const RING_SHARE = 0.86;
const SMALLEST_GAP = 36;
const LARGEST_GAP = 100;

export function layout(request: LayoutRequest): RadarLayout {
  const collapse: Collapse = {
    keep: new Set(request.keep ?? []),
    unfolded: new Set(request.unfolded ?? []),
    ...(request.most !== undefined && { most: request.most }),
  };
  const grouped = group(request.graph, collapse);
  const layers = layersOf(grouped);
  const bands = bandsOf(grouped);
  const width = widths(grouped, layers);
  const submitted = evenly(layers);
  const ordered = order(grouped, layers, apartOf(grouped, layers, bands, width), submitted, request.previous);
  const marks = marksOf(grouped, layers, bands, ordered.angle, width);
  return {
    marks,
    links: linksOf(grouped, layers, bands, marks, ordered.angle),
    rings: bands.map((b, r) => ({ radius: b.radius + b.width / 2, width: b.width, tasks: tasksOn(grouped, r) })),
    radius: (bands.at(-1)?.radius ?? 0) + (bands.at(-1)?.width ?? 0) + gapOf(grouped.rings) * 0.4,
    centre: gapOf(grouped.rings) * 0.4,
    pitch: leastDistance(marks),
    tasks: request.graph.ids.length,
    crossings: ordered.crossings,
    crossingsAsSubmitted: crossings(layers, submitted),
    cyclic: grouped.cyclic,
  };
}

function tasksOn(grouped: Grouped, ring: number): number {
  return grouped.groups.reduce((sum, g, i) => sum + (grouped.ring[i] === ring ? g.members.length : 0), 0);
}

function gapOf(rings: number): number {
  return Math.min(LARGEST_GAP, Math.max(SMALLEST_GAP, 1_400 / Math.max(1, rings)));
}

// ---------------------------------------------------------------------------------- radii

interface Band {
  radius: number;
  width: number;
  lanes: number;
}

/** A ring that is too full becomes a band of staggered lanes, instead of a circle with a hole in it. */
function bandsOf(grouped: Grouped): Band[] {
  const gap = gapOf(grouped.rings);
  const out: Band[] = [];
  let radius = gap * 0.9;
  for (let r = 0; r < grouped.rings; r++) {
    const discs = grouped.groups.filter((g, i) => grouped.ring[i] === r && g.kind !== "arc").length;
    let lanes = 1;
    let room = (TURN * radius) / PITCH;
    while (room * RING_SHARE < discs) {
      room += (TURN * (radius + lanes * LANE)) / PITCH;
      lanes += 1;
    }
    const width = (lanes - 1) * LANE;
    out.push({ radius, width, lanes });
    radius += width + gap;
  }
  return out;
}

// ---------------------------------------------------------------------------------- widths

/** Radians of an arc: grows with the count, slowly, so that 5,000 fit beside 8. */
export function arcSpan(count: number): number {
  return Math.min(4.4, 0.55 + 1.05 * Math.log10(count / 8));
}

/** The angle each node wants for itself: arcs their length, the others a fair share of what is left of the ring. */
function widths(grouped: Grouped, layers: Layers): number[] {
  const out = layers.width.slice();
  for (const ring of layers.rings) {
    const isArc = (node: number): boolean => grouped.groups[node]?.kind === "arc";
    const wanted = ring.filter(isArc).map((node) => arcSpan(grouped.groups[node]?.members.length ?? 0) + 0.12);
    const arcs = wanted.reduce((a, b) => a + b, 0);
    const discs = ring.reduce((sum, node) => sum + (isArc(node) ? 0 : (layers.width[node] ?? 1)), 0);
    const most = discs > 0 ? 0.75 * TURN : RING_SHARE * TURN;
    const shrink = arcs > most ? most / arcs : 1;
    const share = discs > 0 ? Math.min(LARGEST_SEPARATION, (RING_SHARE * TURN - arcs * shrink) / discs) : 0;
    let next = 0;
    for (const node of ring) {
      out[node] = isArc(node) ? (wanted[next++] ?? 0) * shrink : (layers.width[node] ?? 1) * share;
    }
  }
  return out;
}

/** Marks keep their widths' distance; a passing edge keeps clear of discs and of other edges, and wants no more room. */
function apartOf(grouped: Grouped, layers: Layers, bands: readonly Band[], width: readonly number[]): Apart {
  const radius = new Array<number>(width.length).fill(1);
  layers.rings.forEach((ring, r) => ring.forEach((node) => (radius[node] = bands[r]?.radius ?? 1)));
  const isMark = (node: number): boolean => node < layers.marks;
  const clear = (node: number): number => {
    const half = (width[node] ?? 0) / 2;
    if (!isMark(node)) return Math.min(half, EDGE_ROOM / (radius[node] ?? 1));
    return grouped.groups[node]?.kind === "arc" ? half : Math.min(half, (1.8 * PITCH) / (radius[node] ?? 1));
  };
  return (a, b) =>
    isMark(a) && isMark(b) ? ((width[a] ?? 0) + (width[b] ?? 0)) / 2 : Math.max(clear(a) + clear(b), 1e-6);
}

// ---------------------------------------------------------------------------------- order

/** From several starts, the one with the fewest crossings; but the last picture, which people know, while it is as good. */
function order(
  grouped: Grouped,
  layers: Layers,
  apart: Apart,
  submitted: readonly number[],
  previous: Record<string, number> | undefined,
): Ordered {
  const sweeps = layers.segments > MANY_SEGMENTS ? 4 : SWEEPS;
  const known = previous ? warmStart(grouped, layers, previous) : null;
  const kept = known && keepPlaces(layers, known, apart);
  if (kept?.crossings === 0 && kept.sideways < STRAY_SIDEWAYS) return kept;
  let best: Ordered | null = null;
  for (const start of [submitted, depthFirst(layers)]) {
    const found = sweep(layers, start, apart, sweeps);
    if (!best || better(found, best)) best = found;
  }
  if (kept && best && kept.crossings <= best.crossings && kept.sideways < best.sideways * STRAYED) return kept;
  return best ?? { angle: [], crossings: 0, sideways: 0 };
}

/** Angles of the last picture; what is new starts at its parents' angle. Null if too little is known. */
function warmStart(grouped: Grouped, layers: Layers, previous: Record<string, number>): number[] | null {
  const angle = new Array<number>(layers.width.length).fill(Number.NaN);
  let known = 0;
  grouped.groups.forEach((g, i) => {
    const before = previous[g.key];
    if (before === undefined) return;
    angle[i] = before;
    known += 1;
  });
  if (known * 2 < grouped.groups.length) return null;
  for (const ring of layers.rings) {
    for (const node of ring) {
      if (!Number.isNaN(angle[node])) continue;
      const parents = (layers.inner[node] ?? []).map((p) => angle[p] ?? 0).filter((a) => !Number.isNaN(a));
      angle[node] = circularMean(parents) ?? 0;
    }
  }
  return angle;
}

// ---------------------------------------------------------------------------------- picture

function marksOf(
  grouped: Grouped,
  layers: Layers,
  bands: readonly Band[],
  angle: readonly number[],
  width: readonly number[],
): Mark[] {
  const lane = lanesOf(grouped, layers, bands, angle);
  return grouped.groups.map((g, i) => {
    const ring = grouped.ring[i] ?? 0;
    const band = bands[ring] ?? { radius: 0, width: 0, lanes: 1 };
    const radius = g.kind === "arc" ? band.radius + band.width / 2 : band.radius + (lane[i] ?? 0) * LANE;
    return {
      ...g,
      ring,
      angle: angle[i] ?? 0,
      radius,
      span: g.kind === "arc" ? Math.max(0.2, (width[i] ?? 0) - 0.12) : 0,
    };
  });
}

/** Neighbours on a full ring take turns between its lanes. */
function lanesOf(grouped: Grouped, layers: Layers, bands: readonly Band[], angle: readonly number[]): number[] {
  const out = new Array<number>(grouped.groups.length).fill(0);
  layers.rings.forEach((ring, r) => {
    const lanes = bands[r]?.lanes ?? 1;
    const discs = ring.filter((node) => node < layers.marks && grouped.groups[node]?.kind !== "arc");
    discs.sort((a, b) => (angle[a] ?? 0) - (angle[b] ?? 0)).forEach((node, i) => (out[node] = i % lanes));
  });
  return out;
}

function linksOf(
  grouped: Grouped,
  layers: Layers,
  bands: readonly Band[],
  marks: readonly Mark[],
  angle: readonly number[],
): MarkLink[] {
  return grouped.links.map((link, i) => {
    const from = marks[link.from] as Mark;
    const to = marks[link.to] as Mark;
    const between = (layers.via[i] ?? []).map((node, step) => {
      const band = bands[from.ring + 1 + step];
      return { angle: angle[node] ?? 0, radius: (band?.radius ?? 0) + (band?.width ?? 0) / 2 };
    });
    return { ...link, path: [pointOf(from), ...between, pointOf(to)] };
  });
}

function pointOf(mark: Mark): Polar {
  return { angle: mark.angle, radius: mark.radius };
}

/** Least distance between neighbouring discs of a ring, which decides how large discs may be drawn. */
function leastDistance(marks: readonly Mark[]): number {
  let least = LARGEST_GAP;
  const byRing = new Map<number, Mark[]>();
  for (const mark of marks) if (mark.kind !== "arc") listAt(byRing, mark.ring).push(mark);
  for (const ring of byRing.values()) {
    const sorted = ring.toSorted((a, b) => a.angle - b.angle);
    sorted.forEach((mark, i) => {
      // With lanes the next few may be the nearest.
      for (let k = 1; k <= 4 && k < sorted.length; k++) {
        const other = sorted[(i + k) % sorted.length] as Mark;
        if (other !== mark) least = Math.min(least, distance(mark, other));
      }
    });
  }
  return least;
}

function listAt<T>(lists: Map<number, T[]>, key: number): T[] {
  let list = lists.get(key);
  if (!list) lists.set(key, (list = []));
  return list;
}

function distance(a: Polar, b: Polar): number {
  const [x0, y0] = cartesian(a);
  const [x1, y1] = cartesian(b);
  return Math.hypot(x1 - x0, y1 - y0);
}

/** Angle 0 is at the top, clockwise. */
export function cartesian({ angle, radius }: Polar): [x: number, y: number] {
  return [radius * Math.sin(angle), -radius * Math.cos(angle)];
}

/** The marks that `mark` depends on, and those that depend on it, near and far. */
export function relatives(radar: RadarLayout, mark: number): { upstream: Set<number>; downstream: Set<number> } {
  const into = new Map<number, number[]>();
  const out = new Map<number, number[]>();
  for (const { from, to } of radar.links) {
    listAt(out, from).push(to);
    listAt(into, to).push(from);
  }
  return { upstream: reach(mark, into), downstream: reach(mark, out) };
}

function reach(from: number, next: ReadonlyMap<number, readonly number[]>): Set<number> {
  const seen = new Set<number>();
  const stack = [from];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    for (const to of next.get(at) ?? []) {
      if (seen.has(to)) continue;
      seen.add(to);
      stack.push(to);
    }
  }
  return seen;
}
