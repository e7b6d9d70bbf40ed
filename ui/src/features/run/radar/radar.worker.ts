/** Lays out large graphs beside the page, so that it never stops answering. */
import { layout, type LayoutRequest } from "./layout";

self.onmessage = (e: MessageEvent<{ id: number; request: LayoutRequest }>) => {
  self.postMessage({ id: e.data.id, radar: layout(e.data.request) });
};
