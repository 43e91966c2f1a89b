// Everything else that the registry offers for a question, with a form of its parameters.

import { capital, plural } from "../shared/words";
import { askOf, mapOf, picturesOf, targetsOf, unitsOf } from "./asks";
import { Chrome } from "./chrome";
import { classTitle, modelTitle } from "./choices";
import { Controls, parametersOf } from "./controls";
import { fresh, start, useRuns } from "./jobs";
import { Lesson } from "./lesson";
import { Pick, type Group } from "./pick";
import { ResultView } from "./results";
import { change, ran, state, type State } from "./state";
import type { Ask, Method, Question } from "./types";
import { methodOf, methods, modelNow, titleOf, useModel } from "./world";
import { Working } from "./working";

/** Methods that a tab shows by itself. */
const SHOWN = new Set(["predict", "judge", "visualize", "activation_maps", "invert"]);

/** What fits here: maps have cards of their own, and metrics that need masks have none here. */
export const fits = (one: Method, question: Question) =>
  one.question === question && !SHOWN.has(one.name) && one.kind !== "attribution" && !(one.kind === "metric" && one.takes === "maps");

const TITLES: Record<Question, string> = {
  looks_for: "Other ways to ask what a unit looks for",
  found: "Other ways to see what was found",
  mattered: "Other ways to ask what mattered",
  trust: "Measure, attack, check",
};

function groupsOf(question: Question, now: string): Group[] {
  const families = new Map<string, Method[]>();
  for (const one of methods.get().filter((method) => fits(method, question)))
    families.set(one.family, [...(families.get(one.family) ?? []), one]);
  return [...families].map(([family, some]) => ({
    title: capital(family),
    options: some.map((one) => ({ value: one.name, title: titleOf(one.name), note: one.summary, on: one.name === now })),
  }));
}

/** The state as a question to any method. */
export function anyAsk(now: State, model: string, method: Method): Ask {
  const [target = null] = targetsOf(now);
  const about = method.kind === "metric";
  const takes = method.takes;
  return askOf(model, method.name, {
    parameters: parametersOf(method.name),
    ...(about ? { maps: [mapOf(now, now.methods[0] ?? "grad_cam", target)] } : {}),
    ...(method.target && !about ? { target } : {}),
    ...(takes === "units" ? { units: unitsOf(now.unit) } : takes === "model" ? {} : { pictures: picturesOf(now) }),
  });
}

/** What the method will be given, in words. */
function subject(now: State, method: Method): string {
  const model = modelNow(now.model);
  const pictures = plural(picturesOf(now).length, "picture");
  const target =
    method.target && method.kind !== "metric" ? `, for ${now.targets[0] ? classTitle(now.targets[0], model) : "the predicted class"}` : "";
  if (method.kind === "metric") return `The map of ${titleOf(now.methods[0] ?? "grad_cam")}, ${pictures}`;
  if (method.takes === "units") {
    const units = unitsOf(now.unit).map((one) => classTitle(one, model));
    return units.length > 1 ? `${units.join(" and ")}` : `${units[0] ?? "no unit"}; a second one can be mixed in above`;
  }
  if (method.takes === "model") return `The model ${modelTitle(now.model)}`;
  return `${capital(pictures)}${target}`;
}

export function More({ question }: { question: Question }) {
  const now = state.use();
  methods.use();
  const chosen = methodOf(now.more);
  const method = chosen && fits(chosen, question) ? chosen : null;
  const groups = groupsOf(question, now.more);
  const total = groups.reduce((sum, group) => sum + group.options.length, 0);
  if (!total) return null;
  return (
    <section class="more">
      <h3>{TITLES[question]}</h3>
      <div class="row-of">
        <Pick
          label="Search"
          groups={() => groupsOf(question, now.more)}
          pick={(more) => change({ more, ran: now.ran.filter((one) => one !== now.more) })}
        >
          {method ? titleOf(method.name) : `Choose one of ${total}`}
        </Pick>
        {method && (
          <button
            type="button"
            class="plain close"
            aria-label="Close"
            onClick={() => change({ more: "", ran: now.ran.filter((one) => one !== now.more) })}
          >
            ×
          </button>
        )}
      </div>
      {method && <One key={method.name} method={method} />}
    </section>
  );
}

function One({ method }: { method: Method }) {
  const now = state.use();
  const model = useModel(now.model)?.model ?? null;
  const models = [now.model, now.other];
  const slots = models.map((_, i) => `more/${i}/${method.name}`);
  const asks = models.map((one) => (one ? anyAsk(now, one, method) : null));
  const options = { title: titleOf(method.name), live: method.live };
  const runs = useRuns(asks.map((ask, i) => ({ slot: slots[i]!, ask, options: { ...options, hold: !now.ran.includes(method.name) } })));
  const press = () => {
    ran(method.name, true);
    asks.forEach((ask, i) => ask && start(slots[i]!, ask, options));
  };
  return (
    <div class="one-more">
      <p>{method.summary}</p>
      {method.parameters.length > 0 && (
        <details open={method.parameters.some((one) => one.needed)}>
          <summary>Settings</summary>
          <Controls method={method} model={model} />
        </details>
      )}
      <div class="row-of">
        <button type="button" class="strong" onClick={press}>
          Look
        </button>
        <span class="note">{subject(now, method)}</span>
        <Lesson method={method} titled />
      </div>
      <div class={now.other ? "two" : ""}>
        {runs.map(
          (run, i) =>
            models[i] &&
            (run.phase !== "none" || run.result) && (
              <div key={i} class="result-of">
                {now.other && <h4>{modelTitle(models[i]!)}</h4>}
                <Working name={slots[i]!} run={run} options={options} />
                {run.pictures && run.phase !== "done" && (
                  <div class="made-of many">
                    {run.pictures.pictures.map((one, j) => (
                      <img key={j} src={one} alt="Picture so far" />
                    ))}
                  </div>
                )}
                {run.result && run.answered && (
                  <div class={fresh(run) ? "" : "stale"}>
                    <ResultView result={run.result} ask={run.answered} />
                    <Chrome ask={run.answered} result={run.result} />
                  </div>
                )}
              </div>
            ),
        )}
      </div>
    </div>
  );
}
