/**
 * Which rows of a long list to draw. The list keeps its full height by two spacers; only what is near the viewport
 * is in the document, so ten thousand rows cost as much as eighty.
 */

const OVERSCAN = 12;

export interface RowWindow {
  from: number;
  to: number;
  before: number;
  after: number;
}

/** The rows to draw for `visibleFrom`..`visibleTo` px of a list of `count` rows of `rowHeight` px. */
export function rowWindow(count: number, rowHeight: number, visibleFrom: number, visibleTo: number): RowWindow {
  const from = Math.min(count, Math.max(0, Math.floor(visibleFrom / rowHeight) - OVERSCAN));
  const to = Math.min(count, Math.max(from, Math.ceil(visibleTo / rowHeight) + OVERSCAN));
  return { from, to, before: from * rowHeight, after: (count - to) * rowHeight };
}

/** Follows the scrolling of the nearest scrolling ancestor of `node`; use with `{@attach rows.attach}`. */
export class Windowed {
  #visibleFrom = $state(0);
  #visibleTo = $state(1_200);
  #count: () => number;
  #rowHeight: () => number;

  constructor(count: () => number, rowHeight: () => number) {
    this.#count = count;
    this.#rowHeight = rowHeight;
  }

  get rows(): RowWindow {
    return rowWindow(this.#count(), this.#rowHeight(), this.#visibleFrom, this.#visibleTo);
  }

  attach = (node: HTMLElement): (() => void) => {
    const scroller = scrollParent(node);
    let frame = 0;
    const measure = (): void => {
      frame = 0;
      const box = scroller.getBoundingClientRect();
      const top = box.top - node.getBoundingClientRect().top;
      this.#visibleFrom = top;
      this.#visibleTo = top + box.height;
    };
    const later = (): void => {
      frame ||= requestAnimationFrame(measure);
    };
    measure();
    scroller.addEventListener("scroll", later, { passive: true });
    const resize = new ResizeObserver(later);
    resize.observe(scroller);
    // What stands above the list may come and go (a skeleton, an error); the list changes its size then too.
    resize.observe(node);
    return () => {
      cancelAnimationFrame(frame);
      scroller.removeEventListener("scroll", later);
      resize.disconnect();
    };
  };
}

function scrollParent(node: HTMLElement): HTMLElement {
  for (let at: HTMLElement | null = node; at; at = at.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(at).overflowY)) return at;
  }
  return document.documentElement;
}
