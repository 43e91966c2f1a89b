// What every result has: its seconds, notes, code, a pin, an export.

import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { exported } from "./api";
import { Code } from "./code";
import { Controls } from "./controls";
import { keyOf } from "./jobs";
import { change, embedded, state, type Pin } from "./state";
import type { Ask, Model, Result } from "./types";
import { methodOf, say } from "./world";

export const MOST_PINS = 6;
export const samePin = (a: Pin, b: Pin) => a.row === b.row && keyOf(a.ask) === keyOf(b.ask);

export function togglePin(pin: Pin): void {
  const { pins } = state.get();
  const there = pins.some((one) => samePin(one, pin));
  if (!there && pins.length >= MOST_PINS) return say(`${MOST_PINS} results are pinned already; take one out first.`, true);
  change({ pins: there ? pins.filter((one) => !samePin(one, pin)) : [...pins, pin] });
}

async function download(ask: Ask): Promise<void> {
  say("Writing the export …");
  try {
    const address = URL.createObjectURL(await exported(ask));
    const link = document.createElement("a");
    link.href = address;
    link.download = `tapetum-${ask.method}.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    say("Exported: the picture, the arrays and the code.");
  } catch (error) {
    say((error as Error).message, true);
  }
}

const seconds = (value: number) => (value < 0.05 ? "0.0 s" : value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`);

interface ChromeProps {
  ask: Ask;
  result: Result;
  row?: number;
  model?: Model | null;
  settings?: boolean;
  children?: ComponentChildren;
}

export function Chrome({ ask, result, row = 0, model = null, settings = false, children }: ChromeProps) {
  const [open, set] = useState<"" | "code" | "settings" | "notes">("");
  const pinned = state.use().pins.some((one) => samePin(one, { ask, row }));
  const method = methodOf(result.method);
  const toggle = (what: "code" | "settings" | "notes") => set(open === what ? "" : what);
  return (
    <div class="chrome">
      <div class="row-of quiet">
        <span class="note" title={result.cached ? "Computed before; the answer was kept" : result.processor}>
          {seconds(result.seconds)}
        </span>
        {children}
        {settings && (
          <button type="button" aria-expanded={open === "settings"} onClick={() => toggle("settings")}>
            Settings
          </button>
        )}
        {result.notes.length > 0 && (
          <button type="button" aria-expanded={open === "notes"} onClick={() => toggle("notes")}>
            Notes
          </button>
        )}
        <button type="button" aria-expanded={open === "code"} onClick={() => toggle("code")}>
          Code
        </button>
        {!embedded && (
          <button type="button" aria-pressed={pinned} onClick={() => togglePin({ ask, row })}>
            {pinned ? "Pinned" : "Pin"}
          </button>
        )}
        <button type="button" onClick={() => void download(ask)}>
          Export
        </button>
      </div>
      {open === "code" && <Code code={result.code} />}
      {open === "notes" && (
        <ul class="notes">
          {result.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {open === "settings" && method && <Controls method={method} model={model} />}
    </div>
  );
}
