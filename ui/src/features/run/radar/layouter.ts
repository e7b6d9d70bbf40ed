/** Asks for layouts: small ones at once, large ones from a worker; only the last asked for is answered. */

import { layout, type LayoutRequest, type RadarLayout } from "./layout";

/** Up to here a layout takes a few milliseconds, less than starting a worker. */
const SMALL = 200;

export class Layouter {
  #worker: Worker | null = null;
  #asked = 0;
  #answer: (radar: RadarLayout) => void;

  constructor(answer: (radar: RadarLayout) => void) {
    this.#answer = answer;
  }

  ask(request: LayoutRequest): void {
    this.#asked += 1;
    if (request.graph.ids.length <= SMALL) return this.#answer(layout(request));
    this.#start().postMessage({ id: this.#asked, request });
  }

  stop(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL("./radar.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = (e: MessageEvent<{ id: number; radar: RadarLayout }>) => {
      if (e.data.id === this.#asked) this.#answer(e.data.radar);
    };
    this.#worker = worker;
    return worker;
  }
}
