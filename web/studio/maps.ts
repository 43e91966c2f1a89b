// Which maps are asked for, by method, class and model, and the verdicts on them.

import { askOf, mapOf, modelsOf, picturesOf, targetsOf } from "./asks";
import { busy, fresh, runOf, useRun, useRuns, type Run } from "./jobs";
import { state, type State } from "./state";
import type { Ask, Method, Model, Verdict } from "./types";
import { methodOf, methods, modelNow, modelRefused, pictureOf, titleOf, useModel } from "./world";

/** A method's maps of one class by one model: one map per picture. */
export interface Column {
  slot: string;
  model: string;
  target: string | null;
  ask: Ask;
}

export const MOST_COLUMNS = 12;
const MOST_JUDGED = 8; // a verdict's limit

/** Methods that make maps and fit the model: those that need attention are for models that have it. */
export function mapMethods(model: Model | null): Method[] {
  const attends = model?.layers.some((layer) => /attention/i.test(layer.kind)) ?? false;
  return methods.get().filter((one) => one.kind === "attribution" && (attends || one.family !== "attentions"));
}

/** The first model's answer as a class of the second, so that both explain the same; null where it has no such class. */
function sameClass(model: string): string | null {
  const value = runOf("predict").result?.value;
  const answer = value?.type === "predictions" ? value.rows[0]?.[0] : undefined;
  const index = answer ? (modelNow(model)?.labels?.indexOf(answer.label) ?? -1) : -1;
  return answer && index >= 0 ? String(modelNow(model)?.labels?.[answer.index] === answer.label ? answer.index : index) : null;
}

function columnsOf(now: State): Column[] {
  const pictures = picturesOf(now);
  const all = targetsOf(now).flatMap((target, t) =>
    now.methods.flatMap((method) =>
      modelsOf(now).flatMap((model, m) => {
        if (modelRefused(model)) return [];
        const { parameters } = mapOf(now, method, target);
        const own = target === null && m > 0 && pictures.length === 1 ? sameClass(model) : target;
        return [{ slot: `map/${m}/${t}/${method}`, model, target: own, ask: askOf(model, method, { pictures, target: own, parameters }) }];
      }),
    ),
  );
  return pictures.length && methods.get().length ? all.slice(0, MOST_COLUMNS) : [];
}

/** The verdict on a model's maps, once all of them are there. */
export function judgeAsk(now: State, model: string, columns: Column[]): Ask | null {
  const maps = columns
    .filter((one) => one.model === model)
    .slice(0, MOST_JUDGED)
    .map(({ ask }) => mapOf(now, ask.method, ask.target));
  return maps.length ? askOf(model, "judge", { pictures: picturesOf(now), maps }) : null;
}

export function useMaps(): {
  columns: Column[];
  runs: Run[];
  judged: (column: Column, row: number) => Verdict | null;
  judging: boolean;
  trouble: string;
} {
  const now = state.use();
  methods.use();
  useModel(now.other);
  const columns = columnsOf(now);
  const runs = useRuns(
    columns.map(({ slot, ask }) => ({ slot, ask, options: { title: titleOf(ask.method), live: methodOf(ask.method)?.live ?? false } })),
  );
  const ready = runs.length > 0 && runs.every((run) => !busy(run) && (fresh(run) || run.phase === "refused"));
  const made = columns.filter((_, i) => fresh(runs[i]!));
  const [first = "", second = ""] = modelsOf(now);
  const asks = [first, second].map((model) => (model && ready ? judgeAsk(now, model, made) : null));
  const verdicts = [useRun("judge/0", asks[0] ?? null, { title: "Verdicts" }), useRun("judge/1", asks[1] ?? null, { title: "Verdicts" })];
  const judged = (column: Column, row: number) => {
    const at = column.model === first ? 0 : 1;
    const { result, answered } = verdicts[at]!;
    if (result?.value.type !== "verdicts" || !asks[at] || !fresh(verdicts[at]!) || !answered) return null;
    const place = made.filter((one) => one.model === column.model).indexOf(column);
    return place < 0 || place >= result.value.maps ? null : (result.value.rows[row * result.value.maps + place] ?? null);
  };
  return { columns, runs, judged, judging: verdicts.some(busy), trouble: verdicts.find((run) => run.phase === "refused")?.message ?? "" };
}

/** Which picture a row shows, in words. */
export function nameOfRow(id: string, row: number, { edited }: State): string {
  if (edited && row < 2) return row === 0 ? "As it came" : "As you changed it";
  return pictureOf(id)?.name ?? `Picture ${row + 1}`;
}
