// Builds into a scratch folder and proves two promises: the first page stays within its budget, and nothing in the
// bundle asks another host for anything. Run by `npm run check`.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { build } from "vite";

/** JS + CSS that the first page loads, gzip; docs/explanation/web-ui.md says why. */
const FIRST_PAGE_KB = 110;
const LARGEST_CHUNK_KB = 60;
const WHOLE_APP_KB = 320;

/** Names of languages, not addresses to load from; and the explanations that Svelte puts into its error messages. */
const HARMLESS = [/^https?:\/\/www\.w3\.org\//, /^https:\/\/svelte\.dev\/e\//];

const out = await mkdtemp(join(tmpdir(), "legato-ui-"));
const problems = [];
try {
  await build({ logLevel: "error", build: { outDir: out, emptyOutDir: true, manifest: true } });
  const manifest = JSON.parse(await readFile(join(out, ".vite", "manifest.json"), "utf8"));
  const sizes = await gzipSizes(out);
  const entry = Object.keys(manifest).find((key) => manifest[key].isEntry);
  checkBase(await readFile(join(out, "index.html"), "utf8"));
  await checkAddresses(out, [...sizes.keys()]);
  for (const route of Object.keys(manifest).filter((key) => key.startsWith("src/routes/"))) {
    const kb = sum(closure(manifest, [entry, route]), sizes);
    console.log(`${route.replace("src/routes/", "").padEnd(24)} ${kb.toFixed(1).padStart(6)} kB gzip with the shell`);
    if (kb > FIRST_PAGE_KB) problems.push(`${route}: ${kb.toFixed(1)} kB is more than ${FIRST_PAGE_KB} kB`);
  }
  const total = [...sizes.values()].reduce((a, b) => a + b, 0);
  console.log(`whole app                ${total.toFixed(1).padStart(6)} kB gzip`);
  if (total > WHOLE_APP_KB) problems.push(`the whole app: ${total.toFixed(1)} kB is more than ${WHOLE_APP_KB} kB`);
  for (const [file, kb] of sizes) if (kb > LARGEST_CHUNK_KB) problems.push(`${file}: ${kb.toFixed(1)} kB`);
} finally {
  await rm(out, { recursive: true, force: true });
}
for (const problem of problems) console.error(`bundle: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;

async function gzipSizes(folder) {
  const files = (await readdir(join(folder, "assets"))).filter((f) => /\.(js|css)$/.test(f));
  const entries = files.map(async (f) => [
    `assets/${f}`,
    gzipSync(await readFile(join(folder, "assets", f))).length / 1000,
  ]);
  return new Map(await Promise.all(entries));
}

/** Every file that must be there before these modules run. */
function closure(manifest, keys) {
  const files = new Set();
  const seen = new Set();
  const visit = (key) => {
    if (!key || seen.has(key)) return;
    seen.add(key);
    files.add(manifest[key].file);
    for (const css of manifest[key].css ?? []) files.add(css);
    for (const next of manifest[key].imports ?? []) visit(next);
  };
  keys.forEach(visit);
  return files;
}

function sum(files, sizes) {
  return [...files].reduce((total, file) => total + (sizes.get(file) ?? 0), 0);
}

/** The server replaces this very text when it is mounted under a path; everything else must be relative to it. */
function checkBase(html) {
  if (!html.includes('<base href="/" />')) problems.push('index.html has no <base href="/" />');
  for (const [, url] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    if (url !== "/" && /^(\/|https?:)/.test(url)) problems.push(`index.html: ${url} is not relative`);
  }
}

async function checkAddresses(folder, files) {
  for (const file of [...files, "index.html"]) {
    const text = await readFile(join(folder, file), "utf8");
    for (const [url] of text.matchAll(/https?:\/\/[^\s"'`)<>\\]+/g)) {
      if (!HARMLESS.some((known) => known.test(url))) problems.push(`${file}: foreign address ${url}`);
    }
  }
}
