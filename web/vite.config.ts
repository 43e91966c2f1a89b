// Each page is one classic script, one style sheet and its public/index.html: pages opened from file:// may not load modules.
import { defineConfig } from "vite";

const SITES: Record<string, string> = { atlas: "atlas", studio: "studios" };

// `vite build --mode atlas` or `--mode studio`
export default defineConfig(({ mode: page }) => ({
  define: { "process.env.NODE_ENV": '"production"' },
  publicDir: `${page}/public`,
  build: {
    outDir: `../src/tapetum/${SITES[page]}/site`,
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: `${page}/main.tsx`, formats: ["iife"], name: `${page}Pages`, fileName: () => `${page}.js`, cssFileName: page },
  },
}));
