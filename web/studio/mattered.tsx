// Mattered: which parts of the picture made the answer, by several methods side by side, and whether those maps hold.

import { capital, plural } from "../shared/words";
import { askOf, mapOf, modelsOf, picturesOf, targetsOf } from "./asks";
import { Card, type Column } from "./card";
import { classTitle, ClassPick } from "./choices";
import { Edit, useEditing } from "./edit";
import { busy, fresh, runOf, useRun, useRuns, type Run } from "./jobs";
import { Look } from "./look";
import { More } from "./more";
import { Pick, type Group } from "./pick";
import { usePredictions } from "./predictions";
import { change, state, type State } from "./state";
import type { Ask, Method, Model, Verdict } from "./types";
import { methodOf, methods, modelNow, modelRefused, pictureOf, titleOf, useModel } from "./world";

/** Methods that are offered first: quick or well tried, each of another kind. */
const GOOD = ["grad_cam", "layer_cam", "integrated_gradients", "smooth_grad", "rise", "occlusion", "lrp"];
const MOST_COLUMNS = 12;
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
      })));
  return pictures.length && methods.get().length ? all.slice(0, MOST_COLUMNS) : [];
}

/** The verdict on a model's maps, once all of them are there. */
export function judgeAsk(now: State, model: string, columns: Column[]): Ask | null {
  const maps = columns.filter((one) => one.model === model).slice(0, MOST_JUDGED).map(({ ask }) => mapOf(now, ask.method, ask.target));
  return maps.length ? askOf(model, "judge", { pictures: picturesOf(now), maps }) : null;
}

export function useMaps(): { columns: Column[]; runs: Run[]; judged: (column: Column, row: number) => Verdict | null; judging: boolean } {
  const now = state.use();
  methods.use();
  useModel(now.other);
  const columns = columnsOf(now);
  const runs = useRuns(columns.map(({ slot, ask }) => ({ slot, ask, options: { title: titleOf(ask.method), live: methodOf(ask.method)?.live ?? false } })));
  const ready = runs.length > 0 && runs.every((run) => !busy(run) && (fresh(run) || run.phase === "refused"));
  const made = columns.filter((_, i) => fresh(runs[i]!));
  const [first = "", second = ""] = modelsOf(now);
  const asks = [first, second].map((model) => (model && ready ? judgeAsk(now, model, made) : null));
  const verdicts = [
    useRun("judge/0", asks[0] ?? null, { title: "Verdicts" }),
    useRun("judge/1", asks[1] ?? null, { title: "Verdicts" }),
  ];
  const judged = (column: Column, row: number) => {
    const at = column.model === first ? 0 : 1;
    const { result, answered } = verdicts[at]!;
    if (result?.value.type !== "verdicts" || !asks[at] || !fresh(verdicts[at]!) || !answered) return null;
    const place = made.filter((one) => one.model === column.model).indexOf(column);
    return place < 0 || place >= result.value.maps ? null : (result.value.rows[row * result.value.maps + place] ?? null);
  };
  return { columns, runs, judged, judging: verdicts.some(busy) };
}

function methodGroups(model: Model | null, chosen: string[]): Group[] {
  const families = new Map<string, Method[]>();
  for (const one of mapMethods(model)) families.set(one.family, [...(families.get(one.family) ?? []), one]);
  return [...families].map(([family, some]) => ({
    title: capital(family), options: some.map((one) => ({ value: one.name, title: titleOf(one.name), note: one.summary, on: chosen.includes(one.name) })),
  }));
}

export function toggleMethod(name: string): void {
  const { methods: now } = state.get();
  change({ methods: now.includes(name) ? now.filter((one) => one !== name) : [...now, name] });
}

function MethodChips({ model }: { model: Model | null }) {
  const now = state.use().methods;
  const all = mapMethods(model);
  const good = GOOD.filter((name) => all.some((one) => one.name === name));
  const shown = [...good, ...now.filter((name) => !good.includes(name))];
  return (
    <div class="chips" role="group" aria-label="Methods">
      {shown.map((name) => (
        <button type="button" class="chip" key={name} aria-pressed={now.includes(name)} title={methodOf(name)?.summary} onClick={() => toggleMethod(name)}>
          {titleOf(name)}
        </button>
      ))}
      <Pick label="Search a method" groups={() => methodGroups(model, now)} pick={toggleMethod} several hotkey="/">All {all.length} methods</Pick>
    </div>
  );
}

/** "Why espresso rather than cup?" */
function Question({ model }: { model: Model | null }) {
  const now = state.use();
  const { rows } = usePredictions("predict", now.model, picturesOf(now));
  const first = rows[0] ?? [];
  const predicted = first[0];
  const shown = now.targets.length ? now.targets : [""];
  const set = (place: number, target: string) => change({ targets: now.targets.length ? now.targets.map((one, i) => (i === place ? target : one)) : [target] });
  const title = (target: string) => (target === "" ? (predicted?.label ?? "this answer") : classTitle(target, model));
  return (
    <h2 class="question">
      <span>Why</span>{" "}
      {shown.map((target, i) => (
        <span class="asked" key={i}>
          {i > 0 && <span class="and">and</span>}
          <ClassPick label="Class to explain" model={model} first={first} pick={(value) => set(i, value)} kind="drop serif">{title(target)}</ClassPick>
          {now.targets.length > 1 && <button type="button" class="plain close" aria-label={`Take ${title(target)} out`} onClick={() => change({ targets: now.targets.filter((_, j) => j !== i) })}>×</button>}
        </span>
      ))}
      {now.against !== "" && (
        <span class="asked">
          <span>rather than</span>
          <ClassPick label="Rather than" model={model} first={first} pick={(against) => change({ against })} kind="drop serif">{classTitle(now.against, model)}</ClassPick>
          <button type="button" class="plain close" aria-label="Without the other class" onClick={() => change({ against: "" })}>×</button>
        </span>
      )}
      <span>?</span>
      <span class="adds">
        {now.against === "" && predicted && (
          <ClassPick
            label="Rather than which class" model={model} first={first.slice(1)} kind="chip"
            pick={(against) => change({ against, targets: now.targets.length ? now.targets : [String(predicted.index)] })}
          >rather than …</ClassPick>
        )}
        {predicted && (
          <ClassPick
            label="A second class" model={model} first={first} kind="chip"
            pick={(target) => change({ targets: [...(now.targets.length ? now.targets : [String(predicted.index)]), target].slice(-6) })}
          >and …</ClassPick>
        )}
      </span>
    </h2>
  );
}

export function Mattered() {
  const now = state.use();
  const model = useModel(now.model)?.model ?? null;
  const { columns, runs, judged, judging } = useMaps();
  const editing = useEditing();
  const pictures = picturesOf(now);
  const models = modelsOf(now).length > 1;
  const card = (column: Column, i: number, row: number, more: { alone: boolean; name?: string }) => (
    <Card key={`${row}/${column.slot}`} column={column} run={runs[i]!} row={row} verdict={judged(column, row)} judging={judging && fresh(runs[i]!)} models={models} {...more} />
  );
  return (
    <>
      <Question model={model} />
      <MethodChips model={model} />
      <div class="row-of spread-of">
        <Look />
        <button type="button" aria-pressed={editing.on} onClick={editing.toggle}>Edit the picture</button>
      </div>
      {editing.on && <Edit />}
      {columns.length === 0 && pictures.length > 0 && <p class="note">Choose a method above: its map shows which parts of the picture made the answer.</p>}
      {now.edited !== "" && (
        <section aria-label="Before and after">
          <div class="cards pairs-of">{columns.flatMap((column, i) => [0, 1].map((row) => card(column, i, row, { name: nameOfRow("", row, now), alone: false })))}</div>
        </section>
      )}
      {pictures.map((id, row) => (now.edited === "" || row > 1) && (
        <section key={row} aria-label={nameOfRow(id, row, now)}>
          {pictures.length > 1 && <h3 class="row-title">{nameOfRow(id, row, now)}</h3>}
          <div class={`cards ${columns.length === 1 ? "one-card" : models && columns.length > 2 ? "of-two" : ""}`}>{columns.map((column, i) => card(column, i, row, { alone: columns.length === 1 }))}</div>
        </section>
      ))}
      {columns.length >= MOST_COLUMNS && <p class="note">{plural(MOST_COLUMNS, "map")} of a picture are shown at most; take some methods or classes out to see others.</p>}
      <More question="mattered" />
    </>
  );
}

export function nameOfRow(id: string, row: number, { edited }: State): string {
  if (edited && row < 2) return row === 0 ? "As it came" : "As you changed it";
  return pictureOf(id)?.name ?? `Picture ${row + 1}`;
}
