import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

import { mockApi } from "./dev/mock.ts";

/** `LEGATO_UI_API=http://…` sends /api to a real server; otherwise `npm run dev` answers from seeded data in dev/. */
const server = process.env["LEGATO_UI_API"];

export default defineConfig({
  base: "./",
  plugins: [svelte(), ...(server || process.env["VITEST"] ? [] : [mockApi()])],
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: false },
  worker: { format: "es" },
  server: server ? { proxy: { "/api": { target: server, changeOrigin: true } } } : {},
  test: { include: ["src/**/*.test.ts", "dev/**/*.test.ts"], environment: "node" },
});
