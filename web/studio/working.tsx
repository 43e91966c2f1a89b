// Work that goes on: how far it is, how long it takes, and a way to stop it.

import { useEffect, useState } from "preact/hooks";
import { count, plural } from "../shared/words";
import { busy, start, stop, type Options, type Run } from "./jobs";
import type { Progress } from "./types";

export function left(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 1) return "less than a second left";
  return seconds < 100 ? `${Math.ceil(seconds)} s left` : `${Math.ceil(seconds / 60)} min left`;
}

export function progressWords(progress: Progress | null): string {
  if (!progress || !progress.total) return "";
  const done = `${count(progress.done)} of ${count(progress.total)}${progress.unit ? ` ${progress.unit}` : ""}`;
  return [progress.stage, done, left(progress.left_s)].filter(Boolean).join(" · ");
}

export function phaseWords(run: Run): string {
  if (run.phase === "paused") return "Stopped; it can go on from here.";
  if (run.phase === "queued" && run.before > 0) return `Waiting for ${plural(run.before, "other job")}`;
  return progressWords(run.progress) || (run.seconds !== null && run.seconds >= 1 ? `About ${Math.round(run.seconds)} s` : "Working");
}

export function Bar({ progress }: { progress: Progress | null }) {
  const share = progress?.total ? Math.min(1, progress.done / progress.total) : null;
  return (
    <span class={`progress ${share === null ? "unknown" : ""}`} aria-hidden="true">
      <i style={{ width: share === null ? "30%" : `${100 * share}%` }} />
    </span>
  );
}

/** Shown while a slot works, and when it did not get to an end. */
export function Working({ name, run, options = {} }: { name: string; run: Run; options?: Options }) {
  const late = useLate(busy(run), run.begun);
  if (run.phase === "refused") {
    return (
      <div class="working refused" role="alert">
        <p class="caution">{run.message}</p>
        {run.ask && (
          <button type="button" onClick={() => start(name, run.ask!, options)}>
            Ask again
          </button>
        )}
      </div>
    );
  }
  if (run.phase === "stopped") {
    return (
      <div class="working">
        <p class="note">Stopped.</p>
        {run.ask && (
          <button type="button" onClick={() => start(name, run.ask!, options)}>
            Ask again
          </button>
        )}
      </div>
    );
  }
  if (!busy(run)) return null;
  return (
    <div class="working">
      <Bar progress={run.progress} />
      <span class="note">{phaseWords(run)}</span>
      {late && (
        <button type="button" onClick={() => stop(name)}>
          Stop
        </button>
      )}
    </div>
  );
}

/** Has it taken longer than a blink? Until then a Stop button would only flicker. */
function useLate(on: boolean, begun: number): boolean {
  const [late, set] = useState(false);
  useEffect(() => {
    set(false);
    if (!on) return;
    const timer = setTimeout(() => set(true), 300);
    return () => clearTimeout(timer);
  }, [on, begun]);
  return on && late;
}
