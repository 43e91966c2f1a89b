// A method's map of one class, with its verdict: the studio's most used part.

import { capital } from "../shared/words";
import { MapView } from "./canvas/mapview";
import { classTitle, modelTitle } from "./choices";
import { Chrome } from "./chrome";
import { Lesson } from "./lesson";
import { busy, fresh, type Run } from "./jobs";
import type { Column } from "./maps";
import { change, state } from "./state";
import { Hold } from "./verdict";
import { useView } from "./view";
import type { OneMap, Verdict } from "./types";
import { methodOf, titleOf, useModel, useSeen } from "./world";
import { Working } from "./working";

interface CardProps {
  column: Column;
  run: Run;
  /** Which of the pictures. */
  row: number;
  verdict: Verdict | null;
  judging: boolean;
  /** Say the model, the class, where there are several. */
  models: boolean;
  /** The only one: there is room for all that is known of it. */
  alone: boolean;
  /** Which picture it is, where that is not said above. */
  name?: string;
}

/** The map so far, while a method is still sampling. */
function partial(run: Run, row: number): OneMap | null {
  const map = run.maps?.[row];
  return map ? { target: "", status: "ok", words: "", why: null, map, stderr: null } : null;
}

export function Card({ column, run, row, verdict, judging, models, alone, name }: CardProps) {
  const { opacity, threshold, smooth, methods } = state.use();
  const [view, onView] = useView();
  const model = useModel(column.model)?.model ?? null;
  const value = run.result?.value.type === "maps" ? run.result.value : null;
  const answered = run.answered ?? column.ask;
  const so_far = busy(run) ? partial(run, row) : null;
  const one = so_far ?? value?.maps[row] ?? null;
  const photo = useSeen((so_far ? column.ask : answered).pictures[row] ?? column.ask.pictures[row] ?? "", column.model);
  const size = value?.size ?? model?.size ?? [224, 224];
  const stale = !so_far && run.result !== null && !fresh(run);
  const target = one?.target ? classTitle(one.target, model) : so_far && column.target ? classTitle(column.target, model) : "";
  const method = methodOf(column.ask.method);
  return (
    <figure class="card" data-method={column.ask.method}>
      <div class="card-head">
        <h3 title={method?.summary}>{titleOf(column.ask.method)}</h3>
        {target && <span class="target">{target}</span>}
        {name && <span class="note">{name}</span>}
        {models && <span class="note">{modelTitle(column.model)}</span>}
        {methods.length > 1 && (
          <button
            type="button"
            class="plain close"
            aria-label={`Take ${titleOf(column.ask.method)} out`}
            onClick={() => change({ methods: methods.filter((name) => name !== column.ask.method) })}
          >
            ×
          </button>
        )}
      </div>
      {run.phase === "refused" && !run.result ? null : (
        <div class={stale ? "stale" : ""}>
          <MapView
            photo={photo}
            map={photo ? (one?.map ?? null) : null}
            reduce={value?.reduce ?? "positive"}
            size={size}
            opacity={opacity}
            threshold={threshold}
            smooth={smooth}
            view={view}
            onView={onView}
            label={{ method: titleOf(column.ask.method), target: target || null }}
            status={photo ? one?.status : undefined}
            words={one?.why ?? (busy(run) ? "being made" : photo ? "" : " ")}
            stderr={one?.stderr}
          />
        </div>
      )}
      <figcaption>
        <Working name={column.slot} run={run} options={{ title: titleOf(column.ask.method), live: method?.live ?? false }} />
        {one?.words && !stale && !so_far && (alone || !verdict) && <p class={alone ? "says" : "note"}>{capital(one.words)}.</p>}
        {verdict && !stale ? (
          <Hold verdict={verdict} open={alone} />
        ) : (
          judging && !stale && <p class="note judging">Does it hold? Comparing with random maps …</p>
        )}
        {run.result && run.answered && (
          <Chrome ask={run.answered} result={run.result} row={row} model={model} settings>
            <Lesson method={method} />
          </Chrome>
        )}
      </figcaption>
    </figure>
  );
}
