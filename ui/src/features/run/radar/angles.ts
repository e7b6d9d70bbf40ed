/** Angles on one ring: circular means, and the placing that keeps an order and a least separation. Pure. */

export const TURN = 2 * Math.PI;

export function wrap(angle: number): number {
  const a = angle % TURN;
  return a < 0 ? a + TURN : a;
}

/** The short way from `a` to `b`, in (-pi, pi]. */
export function shortWay(a: number, b: number): number {
  const d = wrap(b - a);
  return d > Math.PI ? d - TURN : d;
}

/** The direction of the sum of unit vectors, so that there is no seam; null where they cancel out. */
export function circularMean(angles: readonly number[], weights?: readonly number[]): number | null {
  let x = 0;
  let y = 0;
  for (let i = 0; i < angles.length; i++) {
    const w = weights?.[i] ?? 1;
    x += w * Math.cos(angles[i] ?? 0);
    y += w * Math.sin(angles[i] ?? 0);
  }
  return Math.hypot(x, y) < 1e-6 * Math.max(1, angles.length) ? null : wrap(Math.atan2(y, x));
}

/**
 * Angles for marks in the given cyclic order, as near as can be to the wanted ones (least squares), each pair of
 * neighbours at least `apart(i, j)` radians apart: isotonic regression by pooling adjacent violators, O(n), on the circle
 * cut at its widest gap. `want` must be in that order.
 */
export function place(want: readonly number[], apart: (i: number, j: number) => number): number[] {
  const n = want.length;
  if (n === 0) return [];
  if (n === 1) return [wrap(want[0] ?? 0)];
  const cut = widestGap(want);
  const at = (i: number): number => (cut + i) % n;
  const offset = new Array<number>(n).fill(0);
  for (let i = 1; i < n; i++) offset[i] = (offset[i - 1] ?? 0) + apart(at(i - 1), at(i));
  const unwrapped = unwrap(want, at);
  const levels = pool(unwrapped.map((w, i) => w - (offset[i] ?? 0)));
  const placed = levels.map((level, i) => level + (offset[i] ?? 0));
  const seam = apart(at(n - 1), at(0));
  const fitted = (placed[n - 1] ?? 0) - (placed[0] ?? 0) > TURN - seam ? spread(placed, offset, seam) : placed;
  const out = new Array<number>(n).fill(0);
  fitted.forEach((a, i) => (out[at(i)] = wrap(a)));
  return out;
}

/** The index after the widest gap between neighbours' wanted angles. */
function widestGap(want: readonly number[]): number {
  let best = -1;
  let cut = 0;
  for (let i = 0; i < want.length; i++) {
    const before = want[(i + want.length - 1) % want.length] ?? 0;
    const gap = wrap((want[i] ?? 0) - before);
    if (gap > best + 1e-9) {
      best = gap;
      cut = i;
    }
  }
  return cut;
}

/** Wanted angles as a line: each within half a turn of the one before it. */
function unwrap(want: readonly number[], at: (i: number) => number): number[] {
  const out = [want[at(0)] ?? 0];
  for (let i = 1; i < want.length; i++) {
    const before = out[i - 1] ?? 0;
    out.push(before + shortWay(before, want[at(i)] ?? 0));
  }
  return out;
}

/** Pool adjacent violators: the non-decreasing sequence nearest to `values`. */
function pool(values: readonly number[]): number[] {
  const sums: number[] = [];
  const sizes: number[] = [];
  for (const v of values) {
    let sum = v;
    let size = 1;
    while (sizes.length > 0 && (sums.at(-1) ?? 0) / (sizes.at(-1) ?? 1) > sum / size) {
      sum += sums.pop() ?? 0;
      size += sizes.pop() ?? 0;
    }
    sums.push(sum);
    sizes.push(size);
  }
  return sums.flatMap((sum, i) => new Array<number>(sizes[i] ?? 0).fill(sum / (sizes[i] ?? 1)));
}

/** The ring is full: keep the proportions of the least separations, over the whole turn, about the middle. */
function spread(placed: readonly number[], offset: readonly number[], seam: number): number[] {
  const middle = ((placed[0] ?? 0) + (placed.at(-1) ?? 0)) / 2;
  const span = offset.at(-1) ?? 0;
  const factor = TURN / (span + seam);
  return offset.map((o) => middle + (o - span / 2) * factor);
}
