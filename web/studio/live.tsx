// Pictures that improve while they are watched: stop, go on, begin again.

import { useView } from "./view";
import { PictureView } from "./canvas/mapview";
import { Chrome } from "./chrome";
import { busy, fresh, goOn, pause, start, type Options, type Run } from "./jobs";
import { MadePictures } from "./results";
import { Bar, phaseWords, Working } from "./working";
import type { Ask } from "./types";

interface LiveProps {
  slot: string;
  run: Run;
  ask: Ask | null;
  options: Options;
  /** What is being made, in words. */
  label: string;
  /** Side of the pictures in px, as far as it is known. */
  side?: number;
}

export function Live({ slot, run, ask, options, label, side = 128 }: LiveProps) {
  const [view, onView] = useView();
  const value = run.result?.value.type === "pictures" ? run.result.value : null;
  const now = busy(run) || run.phase === "stopped" ? run.pictures : null;
  const size = value?.size ?? [side, side];
  return (
    <div class="live" aria-label={label}>
      {now ? (
        <div class={`made-of ${now.pictures.length > 1 ? "many" : ""}`}>
          {now.pictures.map((picture, i) => (
            <figure key={i}>
              <PictureView
                picture={picture}
                size={size as [number, number]}
                view={view}
                onView={onView}
                label={`${label}, step ${now.done}`}
                words={run.phase === "paused" ? `stopped at step ${now.done}` : `step ${now.done} of ${now.total}`}
              />
            </figure>
          ))}
        </div>
      ) : value ? (
        <MadePictures value={value} stale={!fresh(run) && run.phase !== "none"} />
      ) : (
        run.phase !== "refused" && (
          <div class="made-of">
            <div class="empty-picture">
              <span class="note">{busy(run) ? phaseWords(run) : label}</span>
            </div>
          </div>
        )
      )}
      <Steering slot={slot} run={run} ask={ask} options={options} />
      {run.result && run.answered && !busy(run) && fresh(run) && <Chrome ask={run.answered} result={run.result} />}
    </div>
  );
}

function Steering({ slot, run, ask, options }: Pick<LiveProps, "slot" | "run" | "ask" | "options">) {
  if (run.phase === "refused" || run.phase === "stopped") return <Working name={slot} run={run} options={options} />;
  if (!busy(run)) return null;
  return (
    <div class="working">
      <Bar progress={run.progress} />
      <span class="note">{phaseWords(run)}</span>
      {run.phase === "paused" ? (
        <button type="button" class="strong" onClick={() => goOn(slot)}>
          Continue
        </button>
      ) : (
        <button type="button" class="strong" onClick={() => pause(slot)}>
          Stop
        </button>
      )}
      {run.phase === "paused" && ask && (
        <button type="button" onClick={() => start(slot, ask, options)}>
          Begin again
        </button>
      )}
    </div>
  );
}
