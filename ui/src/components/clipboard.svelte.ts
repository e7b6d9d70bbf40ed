/** Copying, and short notes at the foot of the page: "Copied", "Cancel asked for". */

export interface Note {
  id: number;
  text: string;
  kind: "ok" | "error";
  undo?: () => void;
}

const STAYS_MS = 3_500;
/** Undo needs time to be noticed. */
const UNDO_STAYS_MS = 8_000;

class Notes {
  list = $state<Note[]>([]);
  #next = 1;

  add(text: string, kind: Note["kind"] = "ok", undo?: () => void): void {
    const id = this.#next++;
    this.list.push(undo ? { id, text, kind, undo } : { id, text, kind });
    window.setTimeout(() => this.drop(id), undo || kind === "error" ? UNDO_STAYS_MS : STAYS_MS);
  }

  drop(id: number): void {
    this.list = this.list.filter((n) => n.id !== id);
  }
}

export const notes = new Notes();

export async function copy(text: string, what = "Copied"): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    notes.add(what);
  } catch {
    // Without https (or with permission refused) there is no clipboard; the old way still works there.
    notes.add(copyByHand(text) ? what : "The browser does not let this page copy", "ok");
  }
}

function copyByHand(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
