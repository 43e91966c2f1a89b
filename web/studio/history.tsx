// The strip at the bottom: work that goes on, and snapshots of what was found, each a state of the page to go back to.

import { kept } from "./api";
import { classTitle, modelTitle } from "./choices";
import { busy, finished, keyOf, running, stop, titleOf as slotTitle, useRuns } from "./jobs";
import { dropFile, keptFile, keptIds } from "./kept";
import { address, go, modelKey, state, stateOf } from "./state";
import { store } from "./store";
import { thumbnail } from "./thumbs";
import { Bar, progressWords } from "./working";
import { modelNow } from "./world";

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
/** What was there before this page: what a reload asks again keeps its place, in whatever order it comes back. */
const earlier = new Set(snapshots.get().map((one) => one.key));

function write(next: Snapshot[]): void {
  snapshots.set(next.slice(0, MOST));
  kept("localStorage", "tapetum-history", JSON.stringify(next.slice(0, MOST)));
  void forgetEdits();
}

/** Changed pictures that nothing leads to any more need not be kept. */
async function forgetEdits(): Promise<void> {
  const used = JSON.stringify([snapshots.get(), state.get()]);
  for (const id of await keptIds()) if (!used.includes(id) && (await keptFile(id))?.thumbnail === "") await dropFile(id);
}

finished.push((title, ask, result) => {
  if (BESIDE.has(ask.method) || title === "Guess" || title === "Pinned") return;
  const { edited } = state.get();
  const now = ask.pictures.some((id) => edited.includes(id)); // of a picture that is being changed the latest is enough
  const key = now && edited ? `edited ${ask.method} ${ask.target}` : keyOf(ask);
  const hash = address({ ...state.get(), pins: [], tour: 0, opacity: 0.85, threshold: 0, smooth: true });
  const note = [
    ask.units.map((one) => classTitle(one, modelNow(modelKey(ask.model, ask.weights)))).join(", "),
    ask.target === null ? "" : classTitle(ask.target, modelNow(modelKey(ask.model, ask.weights))),
    modelTitle(modelKey(ask.model, ask.weights)),
  ]
    .filter(Boolean)
    .join(" · ");
  void thumbnail(result).then((picture) => {
    const made = { key, title, note, hash, thumbnail: picture };
    const all = snapshots.get();
    const again = all.some((one) => one.key === key) && earlier.delete(key);
    write(again ? all.map((one) => (one.key === key ? made : one)) : [made, ...all.filter((one) => one.key !== key)]);
  });
});

/** Goes back to a snapshot; pins stay. */
function back(hash: string): void {
  const { pins } = state.get();
  go(address({ ...stateOf(hash), pins }));
}

function Going({ name }: { name: string }) {
  const [run] = useRuns([{ slot: name, ask: null }]);
  if (!run || !busy(run)) return null;
  const words =
    run.phase === "paused"
      ? "stopped"
      : run.phase === "queued" || run.phase === "waiting"
        ? "waiting"
        : progressWords(run.progress) || "working";
  return (
    <li class="going">
      <span class="name">{slotTitle(name)}</span>
      <span class="note">{words}</span>
      <Bar progress={run.progress} />
      <button type="button" class="plain close" aria-label={`Stop ${slotTitle(name)}`} onClick={() => stop(name)}>
        ×
      </button>
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
        {now.map((name) => (
          <Going key={name} name={name} />
        ))}
        {all.map((one) => (
          <li key={one.key}>
            <button type="button" class="plain snapshot" onClick={() => back(one.hash)} title={`${one.title} · ${one.note}`}>
              {one.thumbnail && <img src={one.thumbnail} alt="" />}
              <span>
                <span class="name">{one.title}</span>
                <span class="note">{one.note}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
      <div class="row-of">
        {pins > 0 && (
          <button type="button" onClick={() => document.getElementById("pins")?.scrollIntoView({ behavior: "smooth", block: "start" })}>
            Pinned {pins}
          </button>
        )}
        {all.length > 0 && (
          <button type="button" class="quiet-button" onClick={() => write([])}>
            Clear
          </button>
        )}
      </div>
    </aside>
  );
}
