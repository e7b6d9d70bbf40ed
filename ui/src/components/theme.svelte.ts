/** Light, dark, or as the system has it. The choice is this browser's and lives in local storage. */

export type Theme = "system" | "light" | "dark";

const KEY = "legato.theme";
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

class ThemeChoice {
  choice = $state<Theme>(stored());
  #systemDark = $state(systemDark.matches);

  constructor() {
    systemDark.addEventListener("change", (e) => (this.#systemDark = e.matches));
    this.#apply();
  }

  get dark(): boolean {
    return this.choice === "system" ? this.#systemDark : this.choice === "dark";
  }

  toggle(): void {
    const opposite = this.dark ? "light" : "dark";
    // Back to what the system says is "system" again, so that it goes on following.
    this.choice = (opposite === "dark") === this.#systemDark ? "system" : opposite;
    this.#apply();
  }

  #apply(): void {
    if (this.choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = this.choice;
    try {
      localStorage.setItem(KEY, this.choice);
    } catch {
      // A browser that forbids storage forgets the choice at the next load; nothing else is lost.
    }
  }
}

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

export const theme = new ThemeChoice();
