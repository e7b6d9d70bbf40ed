/**
 * The one live stream of a tab. Pages subscribe to what they show; the stream reconnects by itself with backoff,
 * and tells everybody to read anew after a gap. A hidden tab gives its connection back after a while: browsers
 * allow six to a host over HTTP/1.1, and twenty open tabs must not starve each other.
 */

import type { JournalEntry } from "./types";

export interface LiveEvents {
  journal?: (entries: JournalEntry[]) => void;
  logs?: (flowRunId: string, total: number) => void;
  /** A run (null: somebody outside runs) has new or changed artifacts. */
  artifacts?: (flowRunId: string | null) => void;
  changed?: (what: string) => void;
  /** Something was missed: what is on screen may be old. */
  reset?: () => void;
}

export type Connection = "connecting" | "live" | "reconnecting" | "asleep";

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 15_000;
/** After this long without a stream the page says that its data is old. */
export const OFFLINE_AFTER_MS = 20_000;
const SLEEP_AFTER_HIDDEN_MS = 60_000;

class LiveStream {
  connection = $state<Connection>("connecting");
  /** When the stream was last known to be live, in ms of the epoch. */
  liveUntil = $state(Date.now());
  /** When the next attempt is made, in ms of the epoch; 0 while connected. */
  retryAt = $state(0);

  #subscribers = new Set<LiveEvents>();
  #source: EventSource | null = null;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: number | undefined;
  #sleepTimer: number | undefined;
  #position = -1;
  #hadGap = false;

  start(): void {
    this.#open();
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    window.addEventListener("online", () => this.retryNow());
  }

  /** Returns the way to unsubscribe, so that an `$effect` can return it. */
  subscribe(events: LiveEvents): () => void {
    this.#subscribers.add(events);
    return () => this.#subscribers.delete(events);
  }

  retryNow(): void {
    if (this.connection === "live") return;
    window.clearTimeout(this.#retryTimer);
    this.#retryMs = FIRST_RETRY_MS;
    this.#open();
  }

  #open(): void {
    this.#source?.close();
    const source = new EventSource("api/events/stream");
    this.#source = source;
    source.onopen = () => this.#onOpen();
    source.onerror = () => this.#onError();
    source.addEventListener("journal", (e) => this.#onJournal(e));
    source.addEventListener("logs", (e) => {
      const data = parse<{ flow_run_id: string; total?: number }>(e);
      if (data) this.#tell((s) => s.logs?.(data.flow_run_id, data.total ?? 0));
    });
    source.addEventListener("artifacts", (e) => {
      const data = parse<{ flow_run_id: string | null }>(e);
      if (data) this.#tell((s) => s.artifacts?.(data.flow_run_id));
    });
    source.addEventListener("changed", (e) => {
      const data = parse<{ what: string }>(e);
      if (data) this.#tell((s) => s.changed?.(data.what));
    });
    source.addEventListener("reset", () => this.#tell((s) => s.reset?.()));
  }

  #onOpen(): void {
    this.connection = "live";
    this.retryAt = 0;
    this.#retryMs = FIRST_RETRY_MS;
    this.liveUntil = Date.now();
    // A new EventSource cannot send Last-Event-ID, so after a gap everybody reads anew.
    if (this.#hadGap) this.#tell((s) => s.reset?.());
    this.#hadGap = false;
  }

  #onError(): void {
    if (this.connection === "live") this.liveUntil = Date.now();
    this.#source?.close();
    this.#hadGap = true;
    if (this.connection === "asleep") return;
    this.connection = "reconnecting";
    this.retryAt = Date.now() + this.#retryMs;
    window.clearTimeout(this.#retryTimer);
    this.#retryTimer = window.setTimeout(() => this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  #onJournal(e: MessageEvent): void {
    const entries = parse<JournalEntry[]>(e)?.filter((entry) => entry.pos > this.#position);
    if (!entries || entries.length === 0) return;
    this.#position = entries[entries.length - 1]?.pos ?? this.#position;
    this.#tell((s) => s.journal?.(entries));
  }

  #onVisibility(): void {
    window.clearTimeout(this.#sleepTimer);
    if (document.hidden) {
      this.#sleepTimer = window.setTimeout(() => this.#sleep(), SLEEP_AFTER_HIDDEN_MS);
    } else if (this.connection !== "live") {
      this.retryNow();
    }
  }

  #sleep(): void {
    this.liveUntil = Date.now();
    this.connection = "asleep";
    this.#hadGap = true;
    window.clearTimeout(this.#retryTimer);
    this.#source?.close();
  }

  #tell(what: (subscriber: LiveEvents) => void): void {
    for (const subscriber of [...this.#subscribers]) what(subscriber);
  }
}

function parse<T>(e: Event): T | null {
  try {
    return JSON.parse((e as MessageEvent<string>).data) as T;
  } catch {
    return null;
  }
}

export const live = new LiveStream();
