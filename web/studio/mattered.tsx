// Mattered: which parts of the picture made the answer, by several methods side by side, and whether those maps hold.

import { capital, plural } from "../shared/words";
import { modelsOf, picturesOf } from "./asks";
import { Card } from "./card";
import { classTitle, ClassPick } from "./choices";
import { Edit, useEditing } from "./edit";
import { fresh } from "./jobs";
import { Look } from "./look";
import { mapMethods, MOST_COLUMNS, nameOfRow, useMaps, type Column } from "./maps";
import { More } from "./more";
import { Pick, type Group } from "./pick";
import { usePredictions } from "./predictions";
import { change, state } from "./state";
import type { Method, Model } from "./types";
import { methodOf, titleOf, useModel } from "./world";

/** Methods that are offered first: quick or well tried, each of another kind. */
const GOOD = ["grad_cam", "layer_cam", "integrated_gradients", "smooth_grad", "rise", "occlusion", "lrp"];

function methodGroups(model: Model | null, chosen: string[]): Group[] {
  const families = new Map<string, Method[]>();
  for (const one of mapMethods(model)) families.set(one.family, [...(families.get(one.family) ?? []), one]);
  return [...families].map(([family, some]) => ({
    title: capital(family),
    options: some.map((one) => ({ value: one.name, title: titleOf(one.name), note: one.summary, on: chosen.includes(one.name) })),
  }));
}

/** Settings with which a slow method begins here: less exact than by itself, and there in seconds. Both are in its settings and code. */
const QUICK: Record<string, Record<string, number>> = { rise: { n_masks: 1000 } };

export function toggleMethod(name: string): void {
  const { methods: now, parameters } = state.get();
  if (now.includes(name)) return change({ methods: now.filter((one) => one !== name) });
  const quick = QUICK[name] && !parameters[name] ? { ...parameters, [name]: QUICK[name] } : parameters;
  change({ methods: [...now, name], parameters: quick });
}

function MethodChips({ model }: { model: Model | null }) {
  const now = state.use().methods;
  const all = mapMethods(model);
  const good = GOOD.filter((name) => all.some((one) => one.name === name));
  const shown = [...good, ...now.filter((name) => !good.includes(name))];
  return (
    <div class="chips" role="group" aria-label="Methods">
      {shown.map((name) => (
        <button
          type="button"
          class="chip"
          key={name}
          aria-pressed={now.includes(name)}
          title={methodOf(name)?.summary}
          onClick={() => toggleMethod(name)}
        >
          {titleOf(name)}
        </button>
      ))}
      <Pick label="Search a method" groups={() => methodGroups(model, now)} pick={toggleMethod} several hotkey="/">
        All {all.length} methods
      </Pick>
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
  const set = (place: number, target: string) =>
    change({ targets: now.targets.length ? now.targets.map((one, i) => (i === place ? target : one)) : [target] });
  const title = (target: string) =>
    target === ""
      ? (predicted?.label ?? "this answer")
      : (first.find(({ index }) => String(index) === target)?.label ?? classTitle(target, model));
  return (
    <h2 class="question">
      <span>Why</span>{" "}
      {shown.map((target, i) => (
        <span class="asked" key={i}>
          {i > 0 && <span class="and">and</span>}
          <ClassPick label="Class to explain" model={model} first={first} pick={(value) => set(i, value)} kind="drop serif">
            {title(target)}
          </ClassPick>
          {now.targets.length > 1 && (
            <button
              type="button"
              class="plain close"
              aria-label={`Take ${title(target)} out`}
              onClick={() => change({ targets: now.targets.filter((_, j) => j !== i) })}
            >
              ×
            </button>
          )}
        </span>
      ))}
      {now.against !== "" && (
        <span class="asked">
          <span>rather than</span>
          <ClassPick label="Rather than" model={model} first={first} pick={(against) => change({ against })} kind="drop serif">
            {title(now.against)}
          </ClassPick>
          <button type="button" class="plain close" aria-label="Without the other class" onClick={() => change({ against: "" })}>
            ×
          </button>
        </span>
      )}
      <span>?</span>
      <span class="adds">
        {now.against === "" && predicted && (
          <ClassPick
            label="Rather than which class"
            model={model}
            first={first.slice(1)}
            kind="chip"
            pick={(against) => change({ against, targets: now.targets.length ? now.targets : [String(predicted.index)] })}
          >
            rather than …
          </ClassPick>
        )}
        {predicted && (
          <ClassPick
            label="A second class"
            model={model}
            first={first}
            kind="chip"
            pick={(target) => change({ targets: [...(now.targets.length ? now.targets : [String(predicted.index)]), target].slice(-6) })}
          >
            and …
          </ClassPick>
        )}
      </span>
    </h2>
  );
}

export function Mattered() {
  const now = state.use();
  const model = useModel(now.model)?.model ?? null;
  const { columns, runs, judged, judging, trouble } = useMaps();
  const editing = useEditing();
  const pictures = picturesOf(now);
  const models = modelsOf(now).length > 1;
  const card = (column: Column, i: number, row: number, more: { alone: boolean; name?: string }) => (
    <Card
      key={`${row}/${column.slot}`}
      column={column}
      run={runs[i]!}
      row={row}
      verdict={judged(column, row)}
      judging={judging && fresh(runs[i]!)}
      models={models}
      {...more}
    />
  );
  return (
    <>
      <Question model={model} />
      <MethodChips model={model} />
      <div class="row-of spread-of">
        <Look />
        <button type="button" aria-pressed={editing.on} onClick={editing.toggle}>
          Edit the picture
        </button>
      </div>
      {editing.on && <Edit />}
      {columns.length === 0 && pictures.length > 0 && (
        <p class="note">Choose a method above: its map shows which parts of the picture made the answer.</p>
      )}
      {now.edited !== "" && (
        <section aria-label="Before and after">
          <div class="cards pairs-of">
            {columns.flatMap((column, i) => [0, 1].map((row) => card(column, i, row, { name: nameOfRow("", row, now), alone: false })))}
          </div>
        </section>
      )}
      {pictures.map(
        (id, row) =>
          (now.edited === "" || row > 1) && (
            <section key={row} aria-label={nameOfRow(id, row, now)}>
              {pictures.length > 1 && <h3 class="row-title">{nameOfRow(id, row, now)}</h3>}
              <div class={`cards ${columns.length === 1 ? "one-card" : models && columns.length > 2 ? "of-two" : ""}`}>
                {columns.map((column, i) => card(column, i, row, { alone: columns.length === 1 }))}
              </div>
            </section>
          ),
      )}
      {trouble !== "" && <p class="note">No verdict: {trouble}</p>}
      {columns.length >= MOST_COLUMNS && (
        <p class="note">{plural(MOST_COLUMNS, "map")} of a picture are shown at most; take some methods or classes out to see others.</p>
      )}
      <More question="mattered" />
    </>
  );
}
