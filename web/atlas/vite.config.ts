// One classic script, one style sheet and public/index.html: pages opened from file:// may not load modules.
import { defineConfig } from "vite";

export default defineConfig({
  define: { "process.env.NODE_ENV": '"production"' },
  build: {
    outDir: "../../src/tapetum/atlas/site",
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: "src/main.tsx", formats: ["iife"], name: "atlasPages", fileName: () => "atlas.js", cssFileName: "atlas" },
  },
});
