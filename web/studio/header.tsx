// The top of the page: the models, and what to do where one cannot be had.

import { ModelPick } from "./choices";
import { change, state } from "./state";
import { beginTour } from "./tour";
import { about, useModel } from "./world";
import { Bar } from "./working";

export function Header() {
  const now = state.use();
  const known = useModel(now.model);
  const other = useModel(now.other);
  const loading = [known, other].find((one) => one && !one.model && !one.message);
  return (
    <header class="top">
      <span class="mark">
        tapetum <span>studio</span>
      </span>
      <ModelPick label="Model" value={now.model} set={(model) => change({ model, other: now.other === model ? "" : now.other }, true)} />
      <ModelPick
        label="Compare with another model"
        value={now.other}
        none
        set={(other) => change({ other: other === now.model ? "" : other }, true)}
      />
      {loading && (
        <span class="loading note" role="status">
          Reading the model <Bar progress={loading.progress} />
        </span>
      )}
      <span class="end">
        <button type="button" class="quiet-button" onClick={beginTour}>
          Tour
        </button>
      </span>
    </header>
  );
}

/** A model that cannot be had, and what can be had instead. */
export function ModelRefusals() {
  const now = state.use();
  const asked = [useModel(now.model), useModel(now.other)];
  return (
    <>
      {(
        [
          ["model", now.model],
          ["other", now.other],
        ] as const
      ).map(
        ([which, key], i) =>
          asked[i]?.message && (
            <p key={which} class="caution row-of" role="alert">
              <span>{asked[i].message}</span>
              {!key.endsWith("~random") && (
                <button type="button" onClick={() => change({ [which]: `${key}~random` })}>
                  Use random weights
                </button>
              )}
              {which === "other" && (
                <button type="button" onClick={() => change({ other: "" })}>
                  Without it
                </button>
              )}
              {which === "model" && (
                <button type="button" onClick={() => change({ model: about.get()!.first })}>
                  Back to {about.get()!.first}
                </button>
              )}
            </p>
          ),
      )}
    </>
  );
}
