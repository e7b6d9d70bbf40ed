/**
 * The order of marks along the rings, by sweeps of circular means: a radial Sugiyama layout after Bachmaier, "A Radial
 * Adaption of the Sugiyama Framework" (TVCG 2007). Pure. Edges that span rings pass through narrow virtual nodes.
 */

import { circularMean, place, shortWay, TURN } from "./angles";
import type { Grouped } from "./graph";

/** Marks and virtual nodes by ring, with their neighbours on the rings inside and outside. */
export interface Layers {
  /** Nodes of each ring. Nodes below `marks` are marks, the others virtual. */
  rings: number[][];
  inner: number[][];
  outer: number[][];
  width: number[];
  marks: number;
  /** For each link the virtual nodes it passes, from the inside out. */
  via: number[][];
  segments: number;
}

/** The least angle between two nodes of a ring that stand side by side, in radians. */
export type Apart = (a: number, b: number) => number;

/** A virtual node's share of a mark's width: room for a line, not for a disc. */
const VIRTUAL_WIDTH = 0.35;

export function layersOf(grouped: Grouped): Layers {
  const marks = grouped.groups.length;
  const rings: number[][] = Array.from({ length: grouped.rings }, () => []);
  const inner: number[][] = Array.from({ length: marks }, () => []);
  const outer: number[][] = Array.from({ length: marks }, () => []);
  const width = new Array<number>(marks).fill(1);
  grouped.ring.forEach((r, i) => rings[r]?.push(i));
  let segments = 0;
  const connect = (a: number, b: number): void => {
    outer[a]?.push(b);
    inner[b]?.push(a);
    segments += 1;
  };
  const via = grouped.links.map(({ from, to }) => {
    const path: number[] = [];
    let last = from;
    for (let r = (grouped.ring[from] ?? 0) + 1; r < (grouped.ring[to] ?? 0); r++) {
      const v = width.length;
      width.push(VIRTUAL_WIDTH);
      inner.push([]);
      outer.push([]);
      rings[r]?.push(v);
      connect(last, v);
      path.push(v);
      last = v;
    }
    connect(last, to);
    return path;
  });
  return { rings, inner, outer, width, marks, via, segments };
}

/** Every ring's nodes evenly, in the order they stand in. */
export function evenly(layers: Layers): number[] {
  const angle = new Array<number>(layers.width.length).fill(0);
  for (const ring of layers.rings) {
    ring.forEach((node, i) => (angle[node] = (TURN * i) / ring.length));
  }
  return angle;
}

/** Every ring's nodes evenly, sub-trees together: in the order in which a depth-first walk from the roots meets them. */
export function depthFirst(layers: Layers): number[] {
  const met: number[][] = layers.rings.map(() => []);
  const ringOf = new Map<number, number>();
  layers.rings.forEach((ring, r) => ring.forEach((node) => ringOf.set(node, r)));
  const seen = new Set<number>();
  const stack = layers.rings.flat().reverse();
  while (stack.length > 0) {
    const node = stack.pop() as number;
    if (seen.has(node)) continue;
    seen.add(node);
    met[ringOf.get(node) ?? 0]?.push(node);
    stack.push(...(layers.outer[node] ?? []).filter((next) => !seen.has(next)).reverse());
  }
  return evenly({ ...layers, rings: met });
}

/** Crossings over all pairs of neighbouring rings, edges taken the short way round. O(E log E). */
export function crossings(layers: Layers, angle: readonly number[]): number {
  let total = 0;
  for (const ring of layers.rings) {
    const starts: number[] = [];
    const ends: number[] = [];
    for (const node of ring) {
      for (const next of layers.outer[node] ?? []) {
        const a = angle[node] ?? 0;
        starts.push(a);
        ends.push(a + shortWay(a, angle[next] ?? 0));
      }
    }
    total += crossingsBetween(starts, ends);
  }
  return total;
}

/**
 * Edges are segments from angle `start` (0..2 pi) to `end`, drawn on a cylinder. Two cross when one starts before the
 * other and ends after it: inversions within the turn, and with the copies of all edges one turn on.
 */
function crossingsBetween(starts: readonly number[], ends: readonly number[]): number {
  const order = starts
    .map((_, i) => i)
    .sort((i, j) => (starts[i] ?? 0) - (starts[j] ?? 0) || (ends[i] ?? 0) - (ends[j] ?? 0));
  const byEnd = ends.toSorted((a, b) => a - b);
  return (
    inversions(
      order.map((i) => ends[i] ?? 0),
      byEnd,
    ) + overTheSeam(byEnd)
  );
}

function inversions(values: readonly number[], sorted: readonly number[]): number {
  const rank = new Map<number, number>();
  sorted.forEach((v, i) => rank.set(v, i + 1));
  const tree = new Int32Array(values.length + 2);
  let total = 0;
  values.forEach((value, seen) => {
    const r = rank.get(value) ?? 1;
    let notAbove = 0;
    for (let i = r; i > 0; i -= i & -i) notAbove += tree[i] ?? 0;
    total += seen - notAbove;
    for (let i = r; i < tree.length; i += i & -i) tree[i] = (tree[i] ?? 0) + 1;
  });
  return total;
}

/** Pairs of which one ends more than a turn after the other: it meets the other's next copy. */
function overTheSeam(sorted: readonly number[]): number {
  let total = 0;
  let below = 0;
  for (const end of sorted) {
    while (below < sorted.length && (sorted[below] ?? 0) + TURN < end) below += 1;
    total += below;
  }
  return total;
}

/** How far edges run sideways altogether: among equal crossings the shorter picture is the calmer one. */
function sideways(layers: Layers, angle: readonly number[]): number {
  let total = 0;
  for (let node = 0; node < layers.outer.length; node++) {
    for (const next of layers.outer[node] ?? []) total += Math.abs(shortWay(angle[node] ?? 0, angle[next] ?? 0));
  }
  return total;
}

export interface Ordered {
  angle: number[];
  crossings: number;
  sideways: number;
}

/** Everything as near as can be to where it was; nothing is pulled anywhere. */
export function keepPlaces(layers: Layers, from: readonly number[], apart: Apart): Ordered {
  const angle = from.slice();
  for (const ring of layers.rings) placeRing(angle, ring, apart, (node) => angle[node] ?? 0);
  return judged(layers, angle);
}

/** From one start, `sweeps` times outward and inward; the best state seen on the way. */
export function sweep(layers: Layers, start: readonly number[], apart: Apart, sweeps: number): Ordered {
  let best = keepPlaces(layers, start, apart);
  const angle = best.angle.slice();
  let idle = 0;
  for (let s = 0; s < sweeps && idle < 3; s++) {
    idle += 1;
    for (const neighbours of [layers.inner, layers.outer]) {
      const rings = neighbours === layers.inner ? layers.rings : layers.rings.toReversed();
      for (const ring of rings) {
        placeRing(angle, ring, apart, (node) => meanOf(neighbours[node] ?? [], angle) ?? angle[node] ?? 0);
      }
      const now = judged(layers, angle);
      if (better(now, best)) {
        best = now;
        idle = 0;
      }
    }
  }
  return settle(layers, best, apart);
}

function judged(layers: Layers, angle: readonly number[]): Ordered {
  return { angle: angle.slice(), crossings: crossings(layers, angle), sideways: sideways(layers, angle) };
}

export function better(a: Ordered, b: Ordered): boolean {
  return a.crossings < b.crossings || (a.crossings === b.crossings && a.sideways < b.sideways - 1e-3);
}

function meanOf(nodes: readonly number[], angle: readonly number[]): number | null {
  return nodes.length === 0 ? null : circularMean(nodes.map((n) => angle[n] ?? 0));
}

/** Sorts a ring by wanted angle (ties keep their order) and places it. */
function placeRing(angle: number[], ring: readonly number[], apart: Apart, wanted: (node: number) => number): void {
  const want = new Map(ring.map((node) => [node, wanted(node)]));
  const order = ring.toSorted(
    (a, b) => (want.get(a) ?? 0) - (want.get(b) ?? 0) || (angle[a] ?? 0) - (angle[b] ?? 0) || a - b,
  );
  const placed = place(
    order.map((node) => want.get(node) ?? 0),
    (i, j) => apart(order[i] ?? 0, order[j] ?? 0),
  );
  order.forEach((node, i) => (angle[node] = placed[i] ?? 0));
}

/** Above this many edge pieces a ring's move is not judged on its own any more. */
const FEW_SEGMENTS = 2_000;
const SETTLING_ROUNDS = 6;

/**
 * With the order fixed, a few rounds that pull each node between all its neighbours, inside and outside. A move that
 * costs a crossing is taken back.
 */
function settle(layers: Layers, from: Ordered, apart: Apart): Ordered {
  let best = from;
  for (let round = 0; round < SETTLING_ROUNDS; round++) {
    const before = best;
    if (layers.segments <= FEW_SEGMENTS) for (const ring of layers.rings) best = moved(layers, best, [ring], apart);
    else best = moved(layers, best, layers.rings, apart);
    if (best === before) break;
  }
  return best;
}

function moved(layers: Layers, from: Ordered, rings: readonly number[][], apart: Apart): Ordered {
  const angle = from.angle.slice();
  for (const ring of rings) {
    const order = ring.toSorted((a, b) => (angle[a] ?? 0) - (angle[b] ?? 0) || a - b);
    const want = order.map((node) => {
      const mean = meanOf([...(layers.inner[node] ?? []), ...(layers.outer[node] ?? [])], angle);
      const now = angle[node] ?? 0;
      return mean === null ? now : now + shortWay(now, mean);
    });
    const placed = place(want, (i, j) => apart(order[i] ?? 0, order[j] ?? 0));
    order.forEach((node, i) => (angle[node] = placed[i] ?? 0));
  }
  const now = judged(layers, angle);
  return better(now, from) ? now : from;
}
