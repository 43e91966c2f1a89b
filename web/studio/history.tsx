// The strip at the bottom: work that goes on, and snapshots of what was found, each a state of the page to go back to.

import { kept } from "./api";
import { modelTitle } from "./choices";
import { busy, finished, keyOf, running, runOf, stop, titleOf as slotTitle, useRuns } from "./jobs";
import { address, change, go, modelKey, state, stateOf } from "./state";
import { store } from "./store";
import { thumbnail } from "./thumbs";
import { Bar, progressWords } from "./working";
import { methodOf } from "./world";

interface Snapshot {
  key: string;
  title: string;
  note: string;
  /** The state of the page that shows it. */
  hash: string;
  thumbnail: string;
}

const MOST = 40;
const BESIDE = new Set(["predict", "judge"]); // what answers with every picture is no snapshot

function read(): Snapshot[] {
  try {
    return (JSON.parse(kept("localStorage", "tapetum-history") ?? "[]") as Snapshot[]).slice(0, MOST);
  } catch {
    return [];
  }
}

const snapshots = store<Snapshot[]>(read());

function write(next: Snapshot[]): void {
  snapshots.set(next.slice(0, MOST));
  kept("localStorage", "tapetum-history", JSON.stringify(next.slice(0, MOST)));
}

finished.push((title, ask, result) => {
  if (BESIDE.has(ask.method) || title === "Guess" || title === "Pinned") return;
  const key = keyOf(ask);
  const hash = address({ ...state.get(), pins: [], tour: 0, opacity: 0.85, threshold: 0, smooth: true });
  const note = [ask.units.join(", "), modelTitle(modelKey(ask.model, ask.weights))].filter(Boolean).join(" · ");
  void thumbnail(result).then((picture) => write([{ key, title, note, hash, thumbnail: picture }, ...snapshots.get().filter((one) => one.key !== key)]));
});

/** Goes back to a snapshot; pins stay. */
function back(hash: string): void {
  const { pins } = state.get();
  go(address({ ...stateOf(hash), pins }));
}

function Going({ name }: { name: string }) {
  const [run] = useRuns([{ slot: name, ask: null }]);
  if (!run || !busy(run)) return null;
  const words = run.phase === "paused" ? "stopped" : run.phase === "queued" || run.phase === "waiting" ? "waiting" : progressWords(run.progress) || "working";
  return (
    <li class="going">
      <span class="name">{slotTitle(name)}</span>
      <span class="note">{words}</span>
      <Bar progress={run.progress} />
      <button type="button" class="plain close" aria-label={`Stop ${slotTitle(name)}`} onClick={() => stop(name)}>×</button>
    </li>
  );
}

export function History() {
  const all = snapshots.use();
  const now = running.use().filter((name) => !name.startsWith("predict"));
  const pins = state.use().pins.length;
  if (!all.length && !now.length && !pins) return null;
  return (
    <aside class="history" aria-label="History">
      <ul>
        {now.map((name) => <Going key={name} name={name} />)}
        {all.map((one) => (
          <li key={one.key}>
            <button type="button" class="plain snapshot" onClick={() => back(one.hash)} title={`${one.title} · ${one.note}`}>
              {one.thumbnail && <img src={one.thumbnail} alt="" />}
              <span><span class="name">{one.title}</span><span class="note">{one.note}</span></span>
            </button>
          </li>
        ))}
      </ul>
      <div class="row-of">
        {pins > 0 && <button type="button" onClick={() => document.getElementById("pins")?.scrollIntoView({ behavior: "smooth", block: "start" })}>Pinned {pins}</button>}
        {all.length > 0 && <button type="button" class="quiet-button" onClick={() => write([])}>Clear</button>}
      </div>
    </aside>
  );
}

/** Stops everything that this page has begun. */
export const stopAll = () => running.get().forEach((name) => busy(runOf(name)) && stop(name));
export const lessonOf = (name: string) => methodOf(name)?.lesson ?? null;
export const clearPins = () => change({ pins: [] });
