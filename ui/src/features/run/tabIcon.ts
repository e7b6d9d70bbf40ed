/**
 * The browser tab's icon shows the state of the open run while its page is open. Files, not data: addresses, so that
 * a strict content security policy holds.
 */

import type { StateType } from "../../api/states";

const PLAIN = "favicon.svg";

/** Returns the way back to the plain icon. */
export function showStateInTab(state: StateType): () => void {
  const link = document.getElementById("favicon") as HTMLLinkElement | null;
  if (!link) return () => undefined;
  link.href = `favicon-${state}.svg`;
  return () => {
    link.href = PLAIN;
  };
}
