/** Draws a radar on a 2D canvas: tracks, links, marks, labels, the run's disc. Knows colours; decides nothing. */

import { STATE_TYPES, type StateType } from "../../../api/states";
import { WORST_FIRST } from "../../state/glyph";
import { shapeOf } from "../../state/shapes";
import { ARC_HALF, curve, linkPath, ribbonPath, sectorPath, spanOf } from "./geometry";
import { cartesian, type Mark, type RadarLayout } from "./layout";

export interface Palette {
  page: string;
  surface: string;
  text: string;
  muted: string;
  border: string;
  control: string;
  accent: string;
  states: Record<StateType, string>;
}

export interface View {
  /** Screen px of the radar's middle, and px for a unit. */
  x: number;
  y: number;
  k: number;
  width: number;
  height: number;
}

export interface Highlight {
  /** The mark that is pointed at or selected, -1 for none. */
  mark: number;
  upstream: ReadonlySet<number>;
  downstream: ReadonlySet<number>;
}

export interface Scene {
  radar: RadarLayout;
  links: readonly Path2D[];
  view: View;
  palette: Palette;
  state: readonly StateType[];
  stateName: readonly string[];
  label: readonly string[];
  highlight: Highlight | null;
  /** Marks drawn with the focus ring. */
  selected: number;
  focused: number;
  run: { name: string; type: StateType; stateName: string; done: number; total: number };
  /** Seconds, for what turns. */
  time: number;
  /** Share of the way in which a just finished run's ring spreads out; null: no pulse. */
  pulse: number | null;
}

const LARGEST_DISC = 22;
const SMALLEST_DISC = 3;
const SHAPE_FROM = 4;
const ICON_FROM = 9;
const FADED = 0.15;
/** Labels are drawn when discs have this much room. */
const LABEL_FROM = 9;

/** Colours resolved for canvas: custom properties may hold `light-dark()`, which canvas does not understand. */
export function readPalette(within: HTMLElement): Palette {
  const probe = document.createElement("span");
  within.append(probe);
  const read = (token: string): string => {
    probe.style.color = `var(--${token})`;
    return getComputedStyle(probe).color;
  };
  const states = Object.fromEntries(STATE_TYPES.map((t) => [t, read(t)])) as Record<StateType, string>;
  const palette: Palette = {
    page: read("page"),
    surface: read("surface"),
    text: read("text"),
    muted: read("muted"),
    border: read("border"),
    control: read("control"),
    accent: read("accent"),
    states,
  };
  probe.remove();
  return palette;
}

export function linkPaths(radar: RadarLayout): Path2D[] {
  return radar.links.map((link) => {
    const from = radar.marks[link.from] as Mark;
    const to = radar.marks[link.to] as Mark;
    return isRibbon(from, to) ? ribbonPath(link, from, to) : linkPath(link);
  });
}

function isRibbon(from: Mark, to: Mark): boolean {
  return from.kind === "arc" || to.kind === "arc";
}

/** The diameter of a disc in px: as large as its neighbours allow, growing slower than the zoom. */
export function discSize(radar: RadarLayout, view: View): number {
  return Math.max(SMALLEST_DISC, Math.min(LARGEST_DISC, radar.pitch * view.k * 0.62));
}

/** What does not turn: tracks and links. */
export function paintGround(ctx: CanvasRenderingContext2D, scene: Scene): void {
  const { radar, view, palette, highlight } = scene;
  ctx.save();
  ctx.translate(view.x, view.y);
  ctx.scale(view.k, view.k);
  const disc = discSize(radar, view) / view.k;
  for (const ring of radar.rings) {
    ctx.beginPath();
    ctx.arc(0, 0, ring.radius, 0, 2 * Math.PI);
    ctx.lineWidth = ring.width + Math.min(disc * 1.15, radar.centre);
    ctx.strokeStyle = palette.page;
    ctx.stroke();
  }
  const alpha = Math.min(0.9, Math.max(0.12, 300 / Math.max(1, radar.links.length)));
  radar.links.forEach((link, i) => {
    const path = scene.links[i];
    if (path) paintLink(ctx, scene, path, link.from, link.to, highlight ? FADED * alpha : alpha);
  });
  if (highlight) paintRelated(ctx, scene, highlight);
  ctx.restore();
}

function paintLink(
  ctx: CanvasRenderingContext2D,
  scene: Scene,
  path: Path2D,
  from: number,
  to: number,
  alpha: number,
): void {
  const { radar, palette, view } = scene;
  const ribbon = isRibbon(radar.marks[from] as Mark, radar.marks[to] as Mark);
  ctx.strokeStyle = ctx.fillStyle = palette.control;
  if (ribbon) {
    ctx.globalAlpha = alpha * 0.22;
    ctx.fill(path);
  }
  ctx.globalAlpha = alpha * (ribbon ? 0.6 : 1);
  ctx.lineWidth = 1.25 / view.k;
  ctx.stroke(path);
  ctx.globalAlpha = 1;
}

/** Upstream in ink, downstream in the accent: two directions, told apart by more than hue (ink is thicker). */
function paintRelated(ctx: CanvasRenderingContext2D, scene: Scene, highlight: Highlight): void {
  const { radar, palette, view } = scene;
  const near = (i: number): boolean => i === highlight.mark;
  radar.links.forEach(({ from, to }, i) => {
    const up = (near(to) || highlight.upstream.has(to)) && highlight.upstream.has(from);
    const down = (near(from) || highlight.downstream.has(from)) && highlight.downstream.has(to);
    const path = scene.links[i];
    if (!path || (!up && !down)) return;
    ctx.strokeStyle = ctx.fillStyle = up ? palette.text : palette.accent;
    if (isRibbon(radar.marks[from] as Mark, radar.marks[to] as Mark)) {
      ctx.globalAlpha = 0.14;
      ctx.fill(path);
      ctx.globalAlpha = 1;
    }
    ctx.lineWidth = (up ? 2 : 1.6) / view.k;
    ctx.stroke(path);
  });
}

/** What may turn or change: marks, labels, the run's disc. */
export function paintMarks(ctx: CanvasRenderingContext2D, scene: Scene): void {
  const size = discSize(scene.radar, scene.view);
  scene.radar.marks.forEach((mark, i) => {
    ctx.globalAlpha = dimmed(scene, i) ? 0.25 : 1;
    if (mark.kind === "task") paintDisc(ctx, scene, mark, size);
    else paintArc(ctx, scene, mark);
    ctx.globalAlpha = 1;
    if (i === scene.selected || i === scene.focused) paintFocus(ctx, scene, mark, size, i === scene.focused);
  });
  paintCentre(ctx, scene);
  paintLabels(ctx, scene, size);
  paintPulse(ctx, scene);
}

function dimmed({ highlight }: Scene, i: number): boolean {
  return highlight !== null && i !== highlight.mark && !highlight.upstream.has(i) && !highlight.downstream.has(i);
}

function onScreen({ view }: Scene, mark: Mark): [number, number] {
  const [x, y] = cartesian(mark);
  return [view.x + x * view.k, view.y + y * view.k];
}

function paintDisc(ctx: CanvasRenderingContext2D, scene: Scene, mark: Mark, size: number): void {
  const [x, y] = onScreen(scene, mark);
  if (x < -size || y < -size || x > scene.view.width + size || y > scene.view.height + size) return;
  const task = mark.members[0] ?? 0;
  paintState(ctx, scene, x, y, size, scene.state[task] ?? "pending", scene.stateName[task] ?? "");
}

const paths = new Map<string, Path2D>();

function pathOf(d: string): Path2D {
  let path = paths.get(d);
  if (!path) paths.set(d, (path = new Path2D(d)));
  return path;
}

function paintState(
  ctx: CanvasRenderingContext2D,
  { palette, time }: Scene,
  x: number,
  y: number,
  size: number,
  type: StateType,
  name: string,
): void {
  const color = palette.states[type];
  const shape = shapeOf(type, name);
  ctx.save();
  ctx.translate(x, y);
  ctx.scale(size / 24, size / 24);
  ctx.translate(-12, -12);
  ctx.lineCap = ctx.lineJoin = "round";
  const outline = pathOf(size < SHAPE_FROM ? shapeOf("completed").outline : shape.outline);
  ctx.fillStyle = shape.fill === "solid" ? color : palette.surface;
  ctx.fill(outline);
  ctx.strokeStyle = color;
  if (shape.fill !== "solid") {
    ctx.lineWidth = 2;
    ctx.setLineDash(shape.fill === "dashed" && size >= ICON_FROM ? [3.4, 2.9] : []);
    ctx.stroke(outline);
    ctx.setLineDash([]);
  }
  if (size >= ICON_FROM) {
    ctx.strokeStyle = ctx.fillStyle = shape.fill === "solid" ? palette.surface : color;
    ctx.lineWidth = shape.iconFilled ? 1 : 2.6;
    ctx.stroke(pathOf(shape.icon));
    if (shape.iconFilled) ctx.fill(pathOf(shape.icon));
  }
  if (type === "running") {
    ctx.beginPath();
    ctx.arc(12, 12, 13.6, time * 4, time * 4 + 1.7);
    ctx.strokeStyle = color;
    ctx.lineWidth = 2.2;
    ctx.stroke();
  }
  ctx.restore();
}

/** A fan-out: a piece of its ring, filled with the mix of states, the worst first and never less than 2 px. */
function paintArc(ctx: CanvasRenderingContext2D, scene: Scene, mark: Mark): void {
  const { view, palette } = scene;
  const span = spanOf(mark);
  const start = mark.angle - span / 2;
  const least = 2 / (mark.radius * view.k);
  const half = Math.max(ARC_HALF, 5 / view.k);
  ctx.save();
  ctx.translate(view.x, view.y);
  ctx.scale(view.k, view.k);
  let from = start;
  for (const { type, share } of mix(mark, scene.state, span, least)) {
    const piece = sectorPath(mark.radius, half, from, from + share);
    ctx.fillStyle = type === "pending" || type === "scheduled" ? palette.surface : palette.states[type];
    ctx.fill(piece);
    if (type === "pending" || type === "scheduled") {
      ctx.lineWidth = 1.3 / view.k;
      ctx.setLineDash([4 / view.k, 3 / view.k]);
      ctx.strokeStyle = palette.states[type];
      ctx.stroke(piece);
      ctx.setLineDash([]);
    }
    from += share;
  }
  ctx.restore();
}

export function countStates(members: readonly number[], state: readonly StateType[]): Map<StateType, number> {
  const out = new Map<StateType, number>();
  for (const m of members) {
    const type = state[m] ?? "pending";
    out.set(type, (out.get(type) ?? 0) + 1);
  }
  return out;
}

function mix(
  mark: Mark,
  state: readonly StateType[],
  span: number,
  least: number,
): { type: StateType; share: number }[] {
  const counts = countStates(mark.members, state);
  const present = WORST_FIRST.filter((t) => counts.has(t));
  const raw = present.map((t) => Math.max(least, (span * (counts.get(t) ?? 0)) / mark.members.length));
  const sum = raw.reduce((a, b) => a + b, 0);
  return present.map((type, i) => ({ type, share: ((raw[i] ?? 0) * span) / sum }));
}

function paintFocus(ctx: CanvasRenderingContext2D, scene: Scene, mark: Mark, size: number, dashed: boolean): void {
  const { view, palette } = scene;
  ctx.save();
  ctx.strokeStyle = palette.accent;
  ctx.lineWidth = 2;
  if (dashed) ctx.setLineDash([4, 3]);
  if (mark.kind === "task") {
    const [x, y] = onScreen(scene, mark);
    ctx.beginPath();
    ctx.arc(x, y, size / 2 + 5, 0, 2 * Math.PI);
    ctx.stroke();
  } else {
    ctx.translate(view.x, view.y);
    ctx.scale(view.k, view.k);
    ctx.lineWidth = 2 / view.k;
    const span = spanOf(mark) / 2 + 4 / (mark.radius * view.k);
    ctx.stroke(sectorPath(mark.radius, ARC_HALF + 5 / view.k, mark.angle - span, mark.angle + span));
  }
  ctx.restore();
}

/** The flow run itself: its state, how much is done as a ring, its name if there is room. */
function paintCentre(ctx: CanvasRenderingContext2D, scene: Scene): void {
  const { view, palette, run, radar } = scene;
  const r = radar.centre * view.k;
  if (r < 6) return;
  ctx.save();
  ctx.translate(view.x, view.y);
  ctx.beginPath();
  ctx.arc(0, 0, r, 0, 2 * Math.PI);
  ctx.fillStyle = palette.surface;
  ctx.fill();
  ctx.lineWidth = 3;
  ctx.strokeStyle = palette.border;
  ctx.stroke();
  if (run.total > 0) {
    ctx.beginPath();
    ctx.arc(0, 0, r, -Math.PI / 2, -Math.PI / 2 + (2 * Math.PI * run.done) / run.total);
    ctx.strokeStyle = palette.states[run.type];
    ctx.stroke();
  }
  ctx.restore();
  const roomy = r > 17;
  paintState(
    ctx,
    scene,
    view.x,
    view.y - (roomy ? r * 0.24 : 0),
    Math.min(20, r * (roomy ? 0.72 : 1.1)),
    run.type,
    run.stateName,
  );
  if (!roomy) return;
  const words = `${run.done}/${run.total}`;
  ctx.font = `600 ${Math.max(8, Math.min(12, r * 0.42, (r * 2.6) / words.length))}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillStyle = palette.text;
  ctx.fillText(words, view.x, view.y + r * 0.48);
}

// ---------------------------------------------------------------------------------- labels

interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

const LABEL_PX = 12;
/** Px between two labels on one line, so that they do not read as one. */
const LABEL_APART = 8;

/** Labels outside their discs where there is room; what failed, runs or is selected chooses first. */
function paintLabels(ctx: CanvasRenderingContext2D, scene: Scene, size: number): void {
  const { radar, view } = scene;
  ctx.font = `${LABEL_PX}px system-ui, "DejaVu Sans", sans-serif`;
  ctx.textBaseline = "middle";
  const taken = new Boxes();
  const c = radar.centre * view.k;
  taken.add({ x: view.x - c, y: view.y - c, w: 2 * c, h: 2 * c });
  for (const mark of radar.marks) {
    if (mark.kind === "task") taken.add(discBox(scene, mark, size));
    else for (const box of arcBoxes(scene, mark)) taken.add(box);
  }
  const degree = new Array<number>(radar.marks.length).fill(0);
  for (const { from, to } of radar.links) {
    degree[from] = (degree[from] ?? 0) + 1;
    degree[to] = (degree[to] ?? 0) + 1;
  }
  const order = radar.marks
    .map((_, i) => i)
    .sort((a, b) => urgency(scene, b) - urgency(scene, a) || (degree[b] ?? 0) - (degree[a] ?? 0) || a - b);
  for (const i of order) {
    const mark = radar.marks[i] as Mark;
    const insist = i === scene.highlight?.mark || i === scene.selected || i === scene.focused;
    if (size < LABEL_FROM && mark.kind === "task" && !insist) continue;
    placeLabel(ctx, scene, mark, size, taken, insist, dimmed(scene, i));
  }
}

function urgency(scene: Scene, i: number): number {
  if (i === scene.highlight?.mark || i === scene.selected || i === scene.focused) return 5;
  if (scene.highlight && !dimmed(scene, i)) return 4;
  const mark = scene.radar.marks[i];
  const type = scene.state[mark?.members[0] ?? 0];
  if (mark && mark.kind !== "task") return 3;
  if (type === "failed" || type === "crashed") return 2;
  return type === "running" ? 1 : 0;
}

function inView({ view }: Scene, box: Box): boolean {
  return box.x >= 2 && box.y >= 2 && box.x + box.w <= view.width - 2 && box.y + box.h <= view.height - 2;
}

function discBox(scene: Scene, mark: Mark, size: number): Box {
  const [x, y] = onScreen(scene, mark);
  return { x: x - size / 2, y: y - size / 2, w: size, h: size };
}

export function labelOf(mark: Mark, label: readonly string[]): string {
  return mark.kind === "task"
    ? (label[mark.members[0] ?? 0] ?? mark.label)
    : `${mark.label} ×${mark.members.length.toLocaleString("en")}`;
}

function placeLabel(
  ctx: CanvasRenderingContext2D,
  scene: Scene,
  mark: Mark,
  size: number,
  taken: Boxes,
  insist: boolean,
  faint: boolean,
): void {
  const text = labelOf(mark, scene.label);
  const w = ctx.measureText(text).width;
  const options =
    mark.kind === "task"
      ? besideDisc(scene, mark, size, w)
      : [0, 0.2, -0.2, 0.35, -0.35].map((at) => outsideArc(scene, mark, at, w));
  const sure = insist || mark.kind !== "task";
  const free = options.filter((o) => inView(scene, o) && taken.free(o));
  const box = leastCovered(scene, free) ?? (sure ? options[0] : undefined);
  if (!box) return;
  taken.add({ ...box, x: box.x - LABEL_APART, w: box.w + 2 * LABEL_APART });
  ctx.textAlign = "left";
  ctx.globalAlpha = faint ? 0.35 : 1;
  ctx.lineWidth = 4;
  ctx.lineJoin = "round";
  ctx.strokeStyle = scene.palette.surface;
  ctx.strokeText(text, box.x, box.y + box.h / 2);
  ctx.fillStyle = scene.palette.text;
  ctx.fillText(text, box.x, box.y + box.h / 2);
  ctx.globalAlpha = 1;
}

/** Of places for a label, best first, the one that hides the least of the links; a few points of a link are worth a step down. */
function leastCovered({ radar, view }: Scene, places: readonly Box[]): Box | undefined {
  const points = linkPoints(radar);
  if (!points) return places[0];
  let best: Box | undefined;
  let least = Infinity;
  places.forEach((box, i) => {
    const at = { x: (box.x - view.x) / view.k, y: (box.y - view.y) / view.k, w: box.w / view.k, h: box.h / view.k };
    const cost = points.count(at) + i * STEP_DOWN;
    if (cost < least) {
      least = cost;
      best = box;
    }
  });
  return best;
}

const STEP_DOWN = 1.5;
/** With more links than this there is no place without any. */
const FEW_LINKS = 400;
const pointsOf = new WeakMap<RadarLayout, Points | null>();

/** Points along all links, in the radar's plane: made once a layout. */
function linkPoints(radar: RadarLayout): Points | null {
  let points = pointsOf.get(radar);
  if (points === undefined) {
    points = radar.links.length > FEW_LINKS ? null : new Points();
    for (const link of points ? radar.links : []) for (const p of curve(link.path)) points?.add(...cartesian(p));
    pointsOf.set(radar, points);
  }
  return points;
}

/** Points on a coarse grid: how many are in a box? */
class Points {
  #cells = new Map<number, [number, number][]>();

  add(x: number, y: number): void {
    const key = Math.floor(x / CELL) * 4_096 + Math.floor(y / CELL);
    const cell = this.#cells.get(key);
    if (cell) cell.push([x, y]);
    else this.#cells.set(key, [[x, y]]);
  }

  count({ x, y, w, h }: Box): number {
    let found = 0;
    for (let i = Math.floor(x / CELL); i <= Math.floor((x + w) / CELL); i++) {
      for (let j = Math.floor(y / CELL); j <= Math.floor((y + h) / CELL); j++) {
        for (const [px, py] of this.#cells.get(i * 4_096 + j) ?? []) {
          if (px >= x && px <= x + w && py >= y && py <= y + h) found += 1;
        }
      }
    }
    return found;
  }
}

const CELL = 32;

/** Places for a label about a disc, best first: on the side away from the middle, then above, below, and the corners. */
function besideDisc(scene: Scene, mark: Mark, size: number, w: number): Box[] {
  const [x, y] = onScreen(scene, mark);
  const h = LABEL_PX + 2;
  const away = size / 2 + 5;
  const at = (dx: number, dy: number): Box => ({
    x: x + dx * away - (dx < 0 ? w : dx === 0 ? w / 2 : 0),
    y: y - h / 2 + dy * (away + h / 2 - 3),
    w,
    h,
  });
  const out = Math.sin(mark.angle) >= 0 ? 1 : -1;
  const up = Math.cos(mark.angle) >= 0 ? -1 : 1;
  const corner = 0.7;
  return [
    at(out, 0),
    at(0, up),
    at(-out, 0),
    at(0, -up),
    at(out * corner, up * corner),
    at(-out * corner, up * corner),
    at(out * corner, -up * corner),
    at(-out * corner, -up * corner),
  ];
}

/** Just outside an arc, `at` of its span away from its middle. */
function outsideArc(scene: Scene, mark: Mark, at: number, w: number): Box {
  const h = LABEL_PX + 2;
  const gap = Math.max(ARC_HALF, 5 / scene.view.k) + 12 / scene.view.k;
  const angle = mark.angle + at * spanOf(mark);
  const [x, y] = onScreen(scene, { ...mark, angle, radius: mark.radius + gap });
  return { x: x - w / 2 + (Math.sin(angle) * w) / 2, y: y - h / 2, w, h };
}

/** An arc as a string of small boxes. */
function arcBoxes(scene: Scene, mark: Mark): Box[] {
  const thick = 2 * Math.max(ARC_HALF * scene.view.k, 5);
  const span = spanOf(mark);
  const n = Math.max(1, Math.ceil((span * mark.radius * scene.view.k) / thick));
  return Array.from({ length: n + 1 }, (_, i) => {
    const [x, y] = onScreen(scene, { ...mark, angle: mark.angle - span / 2 + (span * i) / n });
    return { x: x - thick / 2, y: y - thick / 2, w: thick, h: thick };
  });
}

/** Boxes on a coarse grid: is a place still free? */
class Boxes {
  #cells = new Map<number, Box[]>();

  add(box: Box): void {
    for (const cell of this.#around(box)) this.#cells.set(cell, [...(this.#cells.get(cell) ?? []), box]);
  }

  free(box: Box): boolean {
    return this.#around(box).every((cell) => !(this.#cells.get(cell) ?? []).some((other) => overlap(box, other)));
  }

  #around(box: Box): number[] {
    const size = 64;
    const out: number[] = [];
    for (let i = Math.floor(box.x / size); i <= Math.floor((box.x + box.w) / size); i++) {
      for (let j = Math.floor(box.y / size); j <= Math.floor((box.y + box.h) / size); j++) out.push(i * 4_096 + j);
    }
    return out;
  }
}

function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

/** One ring that spreads when a watched run ends: quiet, once. */
function paintPulse(ctx: CanvasRenderingContext2D, scene: Scene): void {
  if (scene.pulse === null) return;
  ctx.beginPath();
  ctx.arc(scene.view.x, scene.view.y, scene.radar.radius * scene.view.k * scene.pulse, 0, 2 * Math.PI);
  ctx.strokeStyle = scene.palette.states[scene.run.type];
  ctx.globalAlpha = 1 - scene.pulse;
  ctx.lineWidth = 3;
  ctx.stroke();
  ctx.globalAlpha = 1;
}
