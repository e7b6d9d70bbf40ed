/**
 * The query cache of one screen: what a call gave, whether it is being asked again, what went wrong.
 * Old content stays while new content is on its way; a failed refresh keeps the old and says so.
 */

import { untrack } from "svelte";

import { asApiError, UNREACHABLE, type ApiError } from "./client";

/** Live events may come four times a second; a screen asks for itself at most this often. */
const SHORTEST_REFRESH_MS = 1_000;
const AWAY_REFRESH_MS = 10_000;

export class Resource<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<ApiError | null>(null);
  /** True from the start of a first call, or of one with another key, to its end. */
  loading = $state(true);
  /** Data is from an earlier key or an earlier time than asked for. */
  stale = $state(false);

  #load: (signal: AbortSignal) => Promise<T>;
  #abort: AbortController | null = null;
  #timer: number | undefined;
  #lastAsked = 0;

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load;
  }

  /** Asks now. Resolves when the answer, or its failure, is in place. */
  async refresh(): Promise<void> {
    this.#abort?.abort();
    window.clearTimeout(this.#timer);
    this.#timer = undefined;
    const abort = new AbortController();
    this.#abort = abort;
    this.#lastAsked = Date.now();
    try {
      const data = await this.#load(abort.signal);
      if (abort.signal.aborted) return;
      this.data = data;
      this.error = null;
      this.stale = false;
    } catch (e) {
      if (abort.signal.aborted) return;
      const error = asApiError(e);
      this.stale = this.data !== undefined;
      // While the server is away the connection's banner says so once; what was read stays, and is read anew.
      const away = this.stale && error.status === UNREACHABLE;
      this.error = away ? null : error;
      if (away) this.refreshSoon(AWAY_REFRESH_MS);
    }
    this.loading = false;
  }

  /** Asks soon; many wishes within a second become one call. */
  refreshSoon(everyMs = SHORTEST_REFRESH_MS): void {
    if (this.#timer !== undefined) return;
    const wait = Math.max(100, this.#lastAsked + everyMs - Date.now());
    this.#timer = window.setTimeout(() => void this.refresh(), wait);
  }

  /** Changes the data in place of a call, as live events do. */
  update(change: (data: T) => T): void {
    const now = untrack(() => this.data);
    if (now !== undefined) this.data = change(now);
  }

  drop(): void {
    this.#abort?.abort();
    window.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * A resource that asks again whenever what `key` reads changes, and is dropped with its component.
 * With `keep` (default) the old answer stays on screen meanwhile.
 */
export function resource<K, T>(
  key: () => K,
  load: (key: K, signal: AbortSignal) => Promise<T>,
  options: { keep?: boolean } = {},
): Resource<T> {
  let current: K;
  const out = new Resource<T>((signal) => load(current, signal));
  let last: string | undefined;
  $effect(() => {
    const wanted = key();
    const text = JSON.stringify(wanted);
    untrack(() => {
      if (text === last) return;
      const first = last === undefined;
      last = text;
      current = wanted;
      if (!first && options.keep === false) out.data = undefined;
      out.loading = true;
      void out.refresh();
    });
  });
  $effect(() => () => out.drop());
  return out;
}
