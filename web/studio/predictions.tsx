// What the model answers: bars that are also the choice of the class to explain.

import { number } from "../shared/words";
import { askOf } from "./asks";
import { useRun, type Run } from "./jobs";
import { change, state } from "./state";
import type { Prediction } from "./types";
import { modelRefused } from "./world";

const percent = (share: number) =>
  share >= 0.0995 ? `${(100 * share).toFixed(0)} %` : share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;

/** The predictions of some pictures, asked for before anything else. */
export function usePredictions(slot: string, model: string, pictures: string[], k = 5): { rows: Prediction[][]; run: Run } {
  const ask =
    model && pictures.length && !modelRefused(model) ? askOf(model, "predict", { pictures, parameters: k === 5 ? {} : { k } }) : null;
  const run = useRun(slot, ask, { title: "Predictions", quick: true });
  const value = run.result?.value;
  return { rows: value?.type === "predictions" ? value.rows : [], run };
}

/** Explains this class; with `beside` together with those that are explained now, which may be the predicted one alone. */
export function explain(index: number, beside: string[] = []): void {
  const { tab } = state.get();
  const target = String(index);
  const others = beside.filter((one) => one !== target);
  const next = beside.length > 1 && beside.includes(target) ? others : [...others, target].slice(-6);
  change({
    targets: next,
    against: state.get().against === target ? "" : state.get().against,
    tab: tab === "looks_for" || tab === "found" ? "mattered" : tab,
  });
}

/** One picture's answers. Click: explain it; the plus: beside those that are explained. */
export function Bars({ rows, before, stale = false }: { rows: Prediction[]; before?: Prediction[] | undefined; stale?: boolean }) {
  const { targets } = state.use();
  const now = targets.length ? targets : rows[0] ? [String(rows[0].index)] : [];
  const was = (index: number) => before?.find((one) => one.index === index)?.probability;
  return (
    <ol class={`bars-of ${stale ? "stale" : ""}`}>
      {rows.map((one) => {
        const on = now.includes(String(one.index));
        const share = one.probability ?? null;
        const old = was(one.index);
        return (
          <li key={one.index} class={on ? "on" : ""}>
            <button
              type="button"
              class="plain answer"
              aria-pressed={on}
              title={`Explain ${one.label}`}
              onClick={(event) => explain(one.index, event.shiftKey ? now : [])}
            >
              <span class="label">{one.label}</span>
              <span class="value">
                {before && <s>{old === undefined ? "less" : percent(old)}</s>} {share === null ? number(one.value) : percent(share)}
              </span>
              {share !== null && (
                <span class="bar-line" aria-hidden="true">
                  <i style={{ width: `${100 * share}%` }} />
                  {old !== undefined && <b style={{ left: `${100 * old}%` }} />}
                </span>
              )}
            </button>
            <button
              type="button"
              class="plain plus"
              aria-label={on && targets.length > 1 ? `Take ${one.label} out` : `${one.label} beside the others`}
              title="Beside the others"
              onClick={() => explain(one.index, now)}
            >
              {on && targets.length > 1 ? "−" : "+"}
            </button>
          </li>
        );
      })}
    </ol>
  );
}
