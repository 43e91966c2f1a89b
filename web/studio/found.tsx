// Found: what the layers found in the picture, and what is left of it in each.

import { askOf, modelsOf, picturesOf } from "./asks";
import { LayerPick, modelTitle } from "./choices";
import { Chrome } from "./chrome";
import { Controls } from "./controls";
import { fresh, start, useRun, useRuns } from "./jobs";
import { Live } from "./live";
import { Look } from "./look";
import { nameOfRow } from "./maps";
import { More } from "./more";
import { Bars, usePredictions } from "./predictions";
import { ChannelRows } from "./results";
import { changeParameters, ran, state } from "./state";
import { methodOf, methods, useModel } from "./world";
import { Working } from "./working";

function Answers({ model, slot }: { model: string; slot: string }) {
  const now = state.use();
  const pictures = picturesOf(now);
  const { rows, run } = usePredictions(slot, model, pictures, 10);
  return (
    <div class="answers-of ten">
      {rows.map((row, i) => (
        <section key={i}>
          {(rows.length > 1 || modelsOf(now).length > 1) && (
            <h4>
              {nameOfRow(run.answered?.pictures[i] ?? "", i, now)}
              {modelsOf(now).length > 1 && <span class="note"> {modelTitle(model)}</span>}
            </h4>
          )}
          <Bars rows={row} stale={!fresh(run)} />
        </section>
      ))}
    </div>
  );
}

function Activations({ model, slot }: { model: string; slot: string }) {
  const now = state.use();
  methods.use();
  const pictures = picturesOf(now);
  const method = methodOf("activation_maps");
  const facts = useModel(model)?.model ?? null;
  const ask =
    method && facts && pictures.length
      ? askOf(model, "activation_maps", { pictures, parameters: now.parameters.activation_maps ?? {} })
      : null;
  const run = useRun(slot, ask, { title: "Activation maps" });
  const value = run.result?.value.type === "channels" ? run.result.value : null;
  return (
    <div>
      {modelsOf(now).length > 1 && <h4>{modelTitle(model)}</h4>}
      <Working name={slot} run={run} />
      {value && run.answered && (
        <div class={fresh(run) ? "" : "stale"}>
          <ChannelRows value={value} ask={run.answered} row={null} />
          <Chrome ask={run.answered} result={run.result!} />
        </div>
      )}
    </div>
  );
}

function Inversion() {
  const now = state.use();
  methods.use();
  const model = useModel(now.model)?.model ?? null;
  const method = methodOf("invert");
  const parameters = now.parameters.invert ?? {};
  const layer = String(parameters.layer ?? model?.usual[1] ?? "");
  const keys = [now.model, now.other];
  const asks = keys.map((key) =>
    key && method && layer ? askOf(key, "invert", { pictures: picturesOf(now).slice(0, 2), parameters: { ...parameters, layer } }) : null,
  );
  const options = { title: "Inversion", live: true };
  const slots = ["invert/0", "invert/1"];
  const runs = useRuns(asks.map((ask, i) => ({ slot: slots[i]!, ask, options: { ...options, hold: !now.ran.includes("invert") } })));
  if (!method || !model?.layers.length) return null;
  const press = () => {
    ran("invert", true);
    asks.forEach((ask, i) => ask && start(slots[i]!, ask, options));
  };
  const set = (name: string) =>
    changeParameters(
      "invert",
      name ? { ...parameters, layer: name } : Object.fromEntries(Object.entries(parameters).filter(([key]) => key !== "layer")),
    );
  return (
    <section>
      <h3>
        What is left of it at <em>{layer}</em>?
      </h3>
      <p class="note">
        A picture made from noise until it gives the layer the same activations as the photograph: what it shows, the layer kept; what it
        does not, the layer has forgotten.
      </p>
      <div class="row-of">
        <LayerPick model={model} value={layer} set={set} />
        {model.usual.map((name, i) => (
          <button type="button" class="chip" key={name} aria-pressed={name === layer} onClick={() => set(name)}>
            {["early", "middle", "deep"][i]}
          </button>
        ))}
        <button type="button" class="strong" onClick={press}>
          Invert
        </button>
      </div>
      <details>
        <summary>Settings</summary>
        <Controls method={method} model={model} without={["layer"]} />
      </details>
      <div class={now.other ? "two" : ""}>
        {runs.map(
          (run, i) =>
            keys[i] &&
            run.phase !== "none" && (
              <section key={i}>
                {now.other && <h4>{modelTitle(keys[i]!)}</h4>}
                <Live
                  slot={slots[i]!}
                  run={run}
                  ask={asks[i] ?? null}
                  options={options}
                  label={`What ${layer} keeps of the picture`}
                  side={model.size[0]}
                />
              </section>
            ),
        )}
      </div>
    </section>
  );
}

export function Found() {
  const now = state.use();
  const model = useModel(now.model)?.model ?? null;
  const models = modelsOf(now);
  const chosen = now.parameters.activation_maps?.layers;
  return (
    <>
      <h2 class="question">What did the model find in the picture?</h2>
      <div class={models.length > 1 ? "two" : ""}>
        {models.map((key, i) => (
          <Answers key={i} model={key} slot={`predict/ten/${i}`} />
        ))}
      </div>
      <section>
        <h3>Channels that stand out, layer by layer</h3>
        <div class="row-of">
          <LayerPick
            model={model}
            value={typeof chosen === "string" ? chosen : ""}
            empty="chosen by the method"
            set={(name) =>
              changeParameters("activation_maps", { ...now.parameters.activation_maps, ...(name ? { layers: name } : { layers: null }) })
            }
          />
          <Look />
        </div>
        {methodOf("activation_maps") && (
          <details>
            <summary>Settings</summary>
            <Controls method={methodOf("activation_maps")!} model={model} without={["layers"]} />
          </details>
        )}
        <div class={models.length > 1 ? "two" : ""}>
          {models.map((key, i) => (
            <Activations key={i} model={key} slot={`channels/${i}`} />
          ))}
        </div>
      </section>
      <Inversion />
      <More question="found" />
    </>
  );
}
