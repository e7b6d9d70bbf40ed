/** A clock that ticks once a second while somebody looks, so that "4 min ago" and running durations stay true. */
class Now {
  ms = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.ms = Date.now();
    }, 1_000);
  }
}

export const now = new Now();
