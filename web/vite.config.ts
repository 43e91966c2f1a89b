// Each page is one classic script, one style sheet and its public/index.html: pages opened from file:// may not load modules.
// The page of a circuit has no index.html: Python writes the script, the style and the data into one file.
// The notebook's widget is a module, which anywidget loads; it lies beside the studio's page and is built after it.
import { defineConfig } from "vite";

const SITES: Record<string, string> = { atlas: "atlas", studio: "studios", widget: "studios", circuit: "reports/circuits" };

// `vite build --mode atlas`, `--mode studio`, `--mode widget` or `--mode circuit`
export default defineConfig(({ mode: page }) => ({
  define: { "process.env.NODE_ENV": '"production"' },
  publicDir: page === "widget" || page === "circuit" ? false : `${page}/public`,
  build: {
    outDir: `../src/tapetum/${SITES[page]}/site`,
    emptyOutDir: page !== "widget",
    target: "es2022",
    lib: page === "widget"
      ? { entry: "studio/widget.ts", formats: ["es"], fileName: () => "widget.js" }
      : { entry: `${page}/main.tsx`, formats: ["iife"], name: `${page}Pages`, fileName: () => `${page}.js`, cssFileName: page },
  },
}));
