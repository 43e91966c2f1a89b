// Looks for: a picture that drives a unit or a class as much as the optimiser can, made while one watches.

import { useEffect, useState } from "preact/hooks";
import { count } from "../shared/words";
import { visualizeAsk } from "./asks";
import { ClassPick, classTitle, LayerPick, modelTitle } from "./choices";
import { Controls } from "./controls";
import { Guess } from "./guess";
import { useRuns } from "./jobs";
import { Live } from "./live";
import { More } from "./more";
import { usePredictions } from "./predictions";
import { picturesOf } from "./asks";
import { changeUnit, state, type Unit } from "./state";
import { Typed } from "./typed";
import type { Model } from "./types";
import { methodOf, methods, titleOf, useModel } from "./world";

/** The channel's number, with steps; it stays within the layer. */
export function Stepper({
  channel,
  of,
  set,
  label = "Channel",
}: {
  channel: number;
  of: number | null;
  set: (channel: number) => void;
  label?: string;
}) {
  const last = of === null ? Infinity : of - 1;
  const within = (value: number) => Math.min(last, Math.max(0, Math.floor(value) || 0));
  return (
    <span class="stepper" role="group" aria-label={label}>
      <button type="button" aria-label="Previous channel" disabled={channel <= 0} onClick={() => set(within(channel - 1))}>
        −
      </button>
      <Typed inputMode="numeric" label={label} size={4} value={String(channel)} take={(text) => set(within(Number(text)))} />
      <button type="button" aria-label="Next channel" disabled={channel >= last} onClick={() => set(within(channel + 1))}>
        +
      </button>
      {of !== null && <span class="note">of {count(of)}</span>}
      {of !== null && of > 1 && (
        <button type="button" onClick={() => set(Math.floor(Math.random() * of))}>
          Any
        </button>
      )}
    </span>
  );
}

function UnitChoice({ model, unit }: { model: Model | null; unit: Unit }) {
  const now = state.use();
  const { rows } = usePredictions("predict", now.model, picturesOf(now));
  const layer = model?.layers.find((one) => one.name === unit.layer);
  const kind = unit.layer ? "unit" : "class";
  const choose = (what: string) => {
    if (what === "class") return changeUnit({ layer: "", label: unit.label || String(rows[0]?.[0]?.index ?? 0) });
    changeUnit({ layer: model?.usual.at(-1) ?? model?.layers.at(-1)?.name ?? "", channel: 0, label: "" });
  };
  return (
    <div class="row-of unit-of">
      <span class="choice" role="group" aria-label="What is asked">
        <button type="button" aria-pressed={kind === "unit"} onClick={() => choose("unit")}>
          A channel
        </button>
        <button type="button" aria-pressed={kind === "class"} onClick={() => choose("class")}>
          A class
        </button>
      </span>
      {kind === "unit" ? (
        <>
          <LayerPick model={model} value={unit.layer} set={(name) => changeUnit({ layer: name, channel: 0 })} />
          <Stepper channel={unit.channel} of={layer?.channels ?? null} set={(channel) => changeUnit({ channel })} />
        </>
      ) : (
        <ClassPick label="Class" model={model} first={rows[0] ?? []} pick={(label) => changeUnit({ label })}>
          {classTitle(unit.label, model) || "choose a class"}
        </ClassPick>
      )}
    </div>
  );
}

/** A second unit that is added, or taken away. */
function Mix({ model, unit }: { model: Model | null; unit: Unit }) {
  const now = state.use();
  const { rows } = usePredictions("predict", now.model, picturesOf(now));
  const layer = unit.layer || (model?.usual.at(-1) ?? "");
  const channels = model?.layers.find((one) => one.name === layer)?.channels ?? 1;
  const cut = unit.mixed.lastIndexOf(":");
  if (!unit.mixed)
    return (
      <button
        type="button"
        class="chip"
        onClick={() => changeUnit({ mixed: unit.layer ? `${layer}:${(unit.channel + 1) % channels}` : String(rows[0]?.[1]?.index ?? 1) })}
      >
        Mix with …
      </button>
    );
  return (
    <span class="row-of mix">
      <span class="choice" role="group" aria-label="How they are mixed">
        <button type="button" aria-pressed={!unit.minus} onClick={() => changeUnit({ minus: false })}>
          and
        </button>
        <button type="button" aria-pressed={unit.minus} onClick={() => changeUnit({ minus: true })}>
          without
        </button>
      </span>
      {cut >= 0 ? (
        <Stepper
          label="Second channel"
          channel={Number(unit.mixed.slice(cut + 1))}
          of={channels}
          set={(channel) => changeUnit({ mixed: `${unit.mixed.slice(0, cut)}:${channel}` })}
        />
      ) : null}
      <ClassPick label="A class to mix in" model={model} first={rows[0] ?? []} pick={(label) => changeUnit({ mixed: label })}>
        {cut >= 0 ? "a class" : classTitle(unit.mixed, model)}
      </ClassPick>
      {cut < 0 && (
        <button type="button" onClick={() => changeUnit({ mixed: `${layer}:0` })}>
          a channel
        </button>
      )}
      <button type="button" class="plain close" aria-label="Without the second" onClick={() => changeUnit({ mixed: "", minus: false })}>
        ×
      </button>
    </span>
  );
}

export function unitTitle(unit: Unit, model: Model | null): string {
  const one = unit.layer ? `${unit.layer}:${unit.channel}` : classTitle(unit.label, model);
  const two = unit.mixed && (unit.mixed.includes(":") ? unit.mixed : classTitle(unit.mixed, model));
  return `${unit.negative ? "the opposite of " : ""}${one}${two ? ` ${unit.minus ? "without" : "and"} ${two}` : ""}`;
}

export function LooksFor() {
  const now = state.use();
  methods.use();
  const { unit } = now;
  const model = useModel(now.model)?.model ?? null;
  const [more, open] = useState(false);
  const method = methodOf("visualize");
  const predicted = usePredictions("predict", now.model, picturesOf(now)).rows[0]?.[0];
  useEffect(() => {
    if (!unit.layer && unit.label === "" && predicted) changeUnit({ label: String(predicted.index) });
  }, [unit.layer, unit.label, predicted]);
  const ready = method !== undefined && (unit.layer !== "" || unit.label !== "");
  const keys = [now.model, now.other];
  const asks = keys.map((key) => (key && ready ? visualizeAsk(key, unit, now.parameters.visualize ?? {}) : null));
  const options = { title: titleOf("visualize"), live: true };
  const runs = useRuns(asks.map((ask, i) => ({ slot: `visualize/${i}`, ask, options })));
  const title = unitTitle(unit, model);
  return (
    <>
      <h2 class="question">
        {unit.layer === "" && unit.mixed === "" ? (
          <>
            What does <em>{title}</em> look like to the model?
          </>
        ) : (
          <>
            What does <em>{title}</em> look for?
          </>
        )}
      </h2>
      <UnitChoice model={model} unit={unit} />
      <div class="row-of">
        <button
          type="button"
          class="chip"
          aria-pressed={unit.negative}
          onClick={() => changeUnit({ negative: !unit.negative })}
          title="What lowers it most"
        >
          Negate
        </button>
        <button
          type="button"
          class="chip"
          aria-pressed={unit.diverse}
          onClick={() => changeUnit({ diverse: !unit.diverse })}
          title="Four pictures that differ from each other"
        >
          Four that differ
        </button>
        <Mix model={model} unit={unit} />
        <button type="button" class="chip" aria-expanded={more} onClick={() => open(!more)}>
          More
        </button>
      </div>
      {more && method && (
        <Controls method={method} model={model} only={["size", "n_steps", "preset", "seed", "parametrization", "transforms"]} />
      )}
      <div class={now.other ? "two" : ""}>
        {runs.map(
          (run, i) =>
            keys[i] && (
              <section key={i}>
                {now.other && <h3>{modelTitle(keys[i]!)}</h3>}
                <Live
                  slot={`visualize/${i}`}
                  run={run}
                  ask={asks[i] ?? null}
                  options={options}
                  label={`The picture that ${title} responds to`}
                />
              </section>
            ),
        )}
      </div>
      <p class="note">
        Not a photograph: the picture that an optimiser found to drive {unitTitle({ ...unit, negative: false }, model)}{" "}
        {unit.negative ? "down" : "up"} the most. It shows what the unit can respond to, not what it usually does.
      </p>
      <Guess />
      <More question="looks_for" />
    </>
  );
}
