import { describe, expect, it } from "vitest";

import { place, shortWay, TURN } from "./angles";
import type { RadarGraph } from "./graph";
import { cartesian, layout, type RadarLayout } from "./layout";

function graphOf(tasks: [name: string, ...parents: number[]][]): RadarGraph {
  const names = [...new Set(tasks.map(([name]) => name))];
  return {
    ids: tasks.map((_, i) => `id-${i}`),
    name: tasks.map(([name]) => names.indexOf(name)),
    names,
    edges: tasks.flatMap(([, ...parents], i) => parents.flatMap((p) => [p, i])),
  };
}

/** The course's model training: 12 tasks, 16 edges, 5 rings. */
const COURSE = graphOf([
  ["validate"],
  ["read_dataframe"],
  ["read_dataframe"],
  ["add_features", 1, 2],
  ["train", 3],
  ["train", 3],
  ["train", 3],
  ["train", 3],
  ["train", 3],
  ["train", 3],
  ["select", 4, 5, 6, 7, 8, 9],
  ["report", 10, 3],
]);

/** `n` chains read -> feat -> train in shuffled order, joined by one. */
function wide(n: number): RadarGraph {
  const tasks: [string, ...number[]][] = [];
  for (let i = 0; i < n; i++) tasks.push(["read"]);
  for (let i = 0; i < n; i++) tasks.push(["feat", (i * 7) % n]);
  for (let i = 0; i < n; i++) tasks.push(["train", n + ((i * 11) % n)]);
  tasks.push(["select", ...Array.from({ length: n }, (_, i) => 2 * n + i)]);
  return graphOf(tasks);
}

function leastDistance(radar: RadarLayout): number {
  const points = radar.marks.filter((m) => m.kind === "task").map(cartesian);
  let least = Infinity;
  points.forEach(([x, y], i) => {
    for (const [u, v] of points.slice(i + 1)) least = Math.min(least, Math.hypot(x - u, y - v));
  });
  return least;
}

describe("placing angles", () => {
  it("keeps the order and the least separation when all want the same place", () => {
    const placed = place([1, 1, 1, 1], () => 0.5);

    expect(placed.map((a) => a.toFixed(2))).toEqual(["0.25", "0.75", "1.25", "1.75"]);
  });

  it("leaves alone what has room", () => {
    expect(place([0.5, 2, 4], () => 0.3)).toEqual([0.5, 2, 4]);
  });

  it("spreads a full ring over the whole turn", () => {
    const placed = place([1, 1, 1, 1], () => 2);
    const gaps = placed.toSorted((a, b) => a - b).map((a, i, all) => (all[i + 1] ?? (all[0] ?? 0) + TURN) - a);

    for (const gap of gaps) expect(gap).toBeCloseTo(TURN / 4, 1);
  });

  it("has no seam", () => {
    const placed = place([0.1, TURN - 0.1], () => 0.4);

    expect(Math.abs(shortWay(placed[0] ?? 0, placed[1] ?? 0))).toBeCloseTo(0.4);
  });
});

describe("the course's graph", () => {
  const radar = layout({ graph: COURSE });

  it("has a ring for each step of the longest path", () => {
    expect(radar.marks.map((m) => m.ring)).toEqual([0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, 4]);
  });

  it("has no crossings, fewer than in the order of submission", () => {
    expect(radar.crossings).toBe(0);
    expect(radar.crossingsAsSubmitted).toBeGreaterThan(0);
  });

  it("spreads the six trainings over the ring", () => {
    const angles = radar.marks.slice(4, 10).map((m) => m.angle);
    const x = angles.reduce((sum, angle) => sum + Math.sin(angle), 0);
    const y = angles.reduce((sum, angle) => sum + Math.cos(angle), 0);

    expect(Math.hypot(x, y) / 6).toBeLessThan(0.4);
  });

  it("does not let discs overlap", () => {
    expect(leastDistance(radar)).toBeGreaterThanOrEqual(radar.pitch - 1e-6);
    expect(radar.pitch).toBeGreaterThan(20);
  });

  it("gives the same picture for the same graph", () => {
    expect(layout({ graph: COURSE })).toEqual(radar);
  });

  it("keeps every mark where it was when a task is added", () => {
    const previous = Object.fromEntries(radar.marks.map((m) => [m.key, m.angle]));
    const grown = layout({
      graph: {
        ...COURSE,
        ids: [...COURSE.ids, "id-new"],
        name: [...COURSE.name, 0],
        edges: [...COURSE.edges, 11, 12],
      },
      previous,
    });

    for (const mark of grown.marks.slice(0, 12)) {
      expect(Math.abs(shortWay(previous[mark.key] ?? 0, mark.angle))).toBeLessThan(0.35);
    }
  });
});

describe("large graphs", () => {
  it("draws up to 150 tasks one by one, with fewer crossings than as submitted", () => {
    const radar = layout({ graph: wide(49) });

    expect(radar.marks).toHaveLength(148);
    expect(radar.crossings).toBeLessThan(radar.crossingsAsSubmitted / 4);
    expect(leastDistance(radar)).toBeGreaterThan(8);
  });

  it("collapses 1,001 tasks into four marks that account for every task", () => {
    const radar = layout({ graph: wide(333 + 1) });

    expect(radar.marks.map((m) => m.label)).toEqual(["read", "feat", "train", "select"]);
    expect(radar.marks.reduce((sum, m) => sum + m.members.length, 0)).toBe(1003);
  });

  it("shows failed members of a collapsed fan-out on their own", () => {
    const radar = layout({ graph: wide(334), keep: [340, 700] });

    expect(radar.marks.filter((m) => m.kind === "task").map((m) => m.key)).toEqual(["id-340", "id-700", "id-1002"]);
  });

  it("unfolds one arc when asked to", () => {
    const radar = layout({ graph: wide(100), unfolded: ["arc:feat:1"] });

    expect(radar.marks.filter((m) => m.label === "feat")).toHaveLength(100);
  });

  it("makes a capsule of a long chain", () => {
    const chain = graphOf(Array.from({ length: 60 }, (_, i) => (i === 0 ? [`s${i}`] : [`s${i}`, i - 1])));
    const radar = layout({ graph: chain });

    expect(radar.marks).toHaveLength(1);
    expect(radar.marks[0]?.kind).toBe("chain");
    expect(radar.marks[0]?.members).toHaveLength(60);
  });

  it("puts 400 roots on lanes instead of one huge ring", () => {
    const radar = layout({ graph: graphOf(Array.from({ length: 400 }, (_, i) => [`root-${i}`])) });

    expect(leastDistance(radar)).toBeGreaterThan(6);
    expect(radar.rings[0]?.width).toBeGreaterThan(40);
  });
});

describe("odd graphs", () => {
  it("lays out nothing", () => {
    expect(layout({ graph: graphOf([]) }).marks).toEqual([]);
  });

  it("breaks a cycle instead of hanging", () => {
    const radar = layout({ graph: { ids: ["a", "b"], name: [0, 0], names: ["x"], edges: [0, 1, 1, 0] } });

    expect(radar.cyclic).toBe(1);
    expect(radar.marks.map((m) => m.ring)).toEqual([0, 1]);
  });

  it("ignores unknown parents", () => {
    const radar = layout({ graph: { ids: ["a"], name: [0], names: ["x"], edges: [7, 0, -1, 0] } });

    expect(radar.links).toEqual([]);
  });
});
