/** Which page an address belongs to. Each page is a chunk of its own, loaded when first seen. */

import type { Component } from "svelte";

import { match } from "../router.svelte";

type Params = Record<string, string>;
type Load = () => Promise<{ default: Component<Params> }>;

/** Pages take what their pattern names as string props; the router cannot know which, the pattern does. */
function page<P extends Params>(load: () => Promise<{ default: Component<P> }>): Load {
  return load as unknown as Load;
}

const PAGES: [pattern: string, load: Load][] = [
  ["", page(() => import("./Home.svelte"))],
  ["runs", page(() => import("./Runs.svelte"))],
  ["runs/:run", page(() => import("./Run.svelte"))],
  ["deployments", page(() => import("./Deployments.svelte"))],
  ["deployments/:flow/:name", page(() => import("./Deployment.svelte"))],
  ["queues", page(() => import("./Queues.svelte"))],
  ["queues/new", page(() => import("./NewQueue.svelte"))],
  ["queues/:name", page(() => import("./Queue.svelte"))],
  ["artifacts", page(() => import("./Artifacts.svelte"))],
  ["artifacts/:key", page(() => import("./Artifact.svelte"))],
  ["variables", page(() => import("./Variables.svelte"))],
];
const NOT_FOUND = page(() => import("./NotFound.svelte"));

/** Loads the code of all pages, so that the next click is quick, and works while the server is away. */
export function loadAhead(): void {
  for (const [, load] of PAGES) load().catch(() => undefined);
}

export function pageFor(path: string): { load: Load; params: Params } {
  for (const [pattern, load] of PAGES) {
    const params = match(pattern, path);
    if (params) return { load, params };
  }
  return { load: NOT_FOUND, params: {} };
}
