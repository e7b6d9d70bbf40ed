/** Keys of one letter, quiet while somebody types, and chords like "g r". */

export type KeyMap = Record<string, (e: KeyboardEvent) => void>;

const CHORD_MS = 1_200;

export function typing(e: Event): boolean {
  const at = e.target as HTMLElement | null;
  return !!at && (at.isContentEditable || /^(input|textarea|select)$/i.test(at.tagName)) && !isToggle(at);
}

function isToggle(at: HTMLElement): boolean {
  return at instanceof HTMLInputElement && (at.type === "checkbox" || at.type === "radio");
}

/** Calls what `map` has for a key ("j", "?", "g r"); returns the way to stop. */
export function bindKeys(map: KeyMap): () => void {
  let first = "";
  let firstAt = 0;
  const onKey = (e: KeyboardEvent): void => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || typing(e)) return;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    const chord = first && Date.now() - firstAt < CHORD_MS ? `${first} ${key}` : "";
    first = "";
    const action = (chord && map[chord]) || map[key];
    if (action) {
      e.preventDefault();
      action(e);
    } else if (Object.keys(map).some((k) => k.startsWith(`${key} `))) {
      first = key;
      firstAt = Date.now();
    }
  };
  window.addEventListener("keydown", onKey);
  return () => window.removeEventListener("keydown", onKey);
}

/** Moves the focus to the next or previous row's link: `J` and `K` in every list. */
export function moveRow(step: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>("[data-rowlink]")].filter((l) => l.offsetParent !== null);
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[at === -1 ? (step === 1 ? 0 : links.length - 1) : at + step];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
