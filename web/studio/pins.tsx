// Pinned results, up to six side by side: maps with one zoom and one colour scale, others as they are.

import { useState } from "preact/hooks";
import { Compare, type Compared } from "./canvas/compare";
import { classTitle, modelTitle } from "./choices";
import { Chrome, MOST_PINS, togglePin } from "./chrome";
import { fresh, keyOf, useRuns, type Run } from "./jobs";
import { keyOfModel, ResultView } from "./results";
import { change, state, type Pin } from "./state";
import { useView } from "./view";
import { modelNow, pictureOf, titleOf, useSeen } from "./world";
import { Working } from "./working";

const idOfPin = (pin: Pin) => `${pin.row}/${keyOf(pin.ask)}`;

function compared(pin: Pin, run: Run, photo: ImageData | null): Compared | null {
  const value = run.result?.value;
  if (value?.type !== "maps" || !fresh(run)) return null;
  const one = value.maps[pin.row];
  if (!one) return null;
  const model = keyOfModel(pin.ask);
  const picture = pictureOf(pin.ask.pictures[pin.row] ?? "")?.name;
  return {
    id: idOfPin(pin),
    photo,
    map: one.map,
    reduce: value.reduce,
    size: value.size,
    status: one.status,
    words: one.why ?? undefined,
    stderr: one.stderr,
    label: { method: titleOf(pin.ask.method), target: classTitle(one.target, modelNow(model)) },
    note: [picture, modelTitle(model)].filter(Boolean).join(" · "),
  };
}

export function Pins() {
  const now = state.use();
  const { pins, opacity, threshold, smooth } = now;
  const [view, onView] = useView();
  const [shared, onShared] = useState(false);
  const [selected, onSelected] = useState<string[]>([]);
  const places = Array.from({ length: MOST_PINS }, (_, i) => pins[i] ?? null);
  const runs = useRuns(places.map((pin, i) => ({ slot: `pin/${i}`, ask: pin?.ask ?? null, options: { title: "Pinned" } })));
  // six places, so that the hooks are as many whatever is pinned
  const photos = places.map((pin) => useSeen(pin?.ask.pictures[pin.row] ?? "", pin ? keyOfModel(pin.ask) : ""));
  if (!pins.length) return null;
  const maps = pins.map((pin, i) => compared(pin, runs[i]!, photos[i]!));
  const items = maps.filter((one) => one !== null);
  const others = pins.flatMap((pin, i) => (maps[i] ? [] : [{ pin, run: runs[i]!, slot: `pin/${i}` }]));
  const out = (id: string) => change({ pins: pins.filter((pin) => idOfPin(pin) !== id) });
  return (
    <section id="pins" class="pins" aria-label="Pinned">
      <div class="row-of">
        <h2>Pinned</h2>
        <button type="button" onClick={() => change({ pins: [] })}>
          Take all out
        </button>
      </div>
      {items.length > 0 && (
        <Compare
          items={items}
          opacity={opacity}
          threshold={threshold}
          smooth={smooth}
          view={view}
          onView={onView}
          shared={shared}
          onShared={onShared}
          selected={selected}
          onSelected={onSelected}
          onRemove={out}
        />
      )}
      {others.length > 0 && (
        <div class="cards">
          {others.map(({ pin, run, slot }) => (
            <figure key={idOfPin(pin)} class="card">
              <div class="card-head">
                <h3>{titleOf(pin.ask.method)}</h3>
                <span class="note">
                  {pin.ask.units.join(", ")} {modelTitle(keyOfModel(pin.ask))}
                </span>
                <button type="button" class="plain close" aria-label={`Take ${titleOf(pin.ask.method)} out`} onClick={() => togglePin(pin)}>
                  ×
                </button>
              </div>
              <Working name={slot} run={run} />
              {run.result && fresh(run) && (
                <ResultView
                  result={run.result}
                  ask={pin.ask}
                  row={run.result.value.type === "maps" || run.result.value.type === "numbers" ? pin.row : null}
                />
              )}
              {run.result && fresh(run) && <Chrome ask={pin.ask} result={run.result} row={pin.row} />}
            </figure>
          ))}
        </div>
      )}
    </section>
  );
}
