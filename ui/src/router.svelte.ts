/**
 * Where we are, as an address: path and query under the document's base. Ordinary relative links (`href="runs"`)
 * are followed without loading a page; everything a screen shows is in its address, so back and reload just work.
 */

const base = new URL(".", document.baseURI);

class Router {
  path = $state("");
  query = $state.raw(new URLSearchParams());

  constructor() {
    this.#read();
    window.addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (e) => this.#onClick(e));
  }

  /** Goes to an address relative to the base: `runs?state=failed`. */
  go(to: string, options: { replace?: boolean } = {}): void {
    const url = new URL(to || ".", base);
    if (options.replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
    const samePath = this.path === pathOf(url);
    this.#read();
    if (!samePath) document.getElementById("main")?.scrollTo({ top: 0 });
  }

  /** The present address with some query parameters changed; null and "" take one away. */
  with(changes: Record<string, string | null | undefined>): string {
    const query = new URLSearchParams(this.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    const text = readable(query);
    return (this.path || ".") + (text && `?${text}`);
  }

  set(changes: Record<string, string | null | undefined>, options: { replace?: boolean } = {}): void {
    this.go(this.with(changes), options);
  }

  get(key: string): string {
    return this.query.get(key) ?? "";
  }

  /** A parameter that holds a comma-separated list. */
  list(key: string): string[] {
    return this.get(key).split(",").filter(Boolean);
  }

  #read(): void {
    const url = new URL(location.href);
    this.path = pathOf(url);
    if (readable(this.query) !== readable(url.searchParams)) this.query = url.searchParams;
  }

  #onClick(e: MouseEvent): void {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const link = (e.target as Element | null)?.closest("a");
    if (!link || link.target || link.hasAttribute("download") || !link.href) return;
    const url = new URL(link.href);
    if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return;
    if (pathOf(url).startsWith("api/")) return;
    e.preventDefault();
    this.go(url.href);
  }
}

function pathOf(url: URL): string {
  return url.pathname.startsWith(base.pathname) ? url.pathname.slice(base.pathname.length).replace(/\/+$/, "") : "";
}

/** Commas and colons are legal in a query; people read `state=failed,crashed` better than `%2C`. */
function readable(query: URLSearchParams): string {
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
}

/** An absolute address of something here, for copying. */
export function absolute(to: string): string {
  return new URL(to, base).href;
}

/** The server's address as a person would type it. */
export const serverAddress = base.href.replace(/\/$/, "");

export const router = new Router();

/** The parts of `path` named in `pattern` ("runs/:run"), or null if it is another page's. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  const out: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    const value = given[i] ?? "";
    if (part.startsWith(":")) out[part.slice(1)] = decodeURIComponent(value);
    else if (part !== value) return null;
  }
  return out;
}
