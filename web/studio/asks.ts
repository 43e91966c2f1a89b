// The page's state as questions to the server.

import { modelOf, type State, type Unit } from "./state";
import type { Ask, MapAsk, Value } from "./types";
import { idOf } from "./world";

const NO_ASK: Omit<Ask, "model" | "weights" | "method"> = { pictures: [], units: [], target: null, parameters: {}, maps: [] };

export function askOf(model: string, method: string, more: Partial<Ask> = {}): Ask {
  return { ...modelOf(model), method, ...NO_ASK, ...more };
}

/** The pictures that are shown: an edited one before and after, then the others. */
export function picturesOf({ pictures, edited }: State): string[] {
  const ids = pictures.map(idOf).filter((id) => id !== "");
  return edited ? [...edited.split("~"), ...ids.slice(1)].slice(0, 6) : ids;
}

export const modelsOf = ({ model, other }: State) => [model, other].filter((one) => one !== "");

/** Targets of the maps: a class, "a rather than b", or the predicted class. */
export function targetsOf({ targets, against }: State): (string | null)[] {
  const classes = targets.length ? targets : [null];
  return classes.map((one) => (one !== null && against !== "" && against !== one ? `${one} rather than ${against}` : one));
}

export const mapOf = (state: State, method: string, target: string | null): MapAsk => ({
  method,
  target,
  parameters: state.parameters[method] ?? {},
});

/** The unit and the one that is mixed in, each by itself. */
export const unitsOf = (unit: Unit) => [unitText({ ...unit, mixed: "" }), unit.mixed].filter((one) => one !== "");

/** "blocks.3.0:5 + 967" */
export function unitText({ layer, channel, label, mixed, minus }: Unit): string {
  const base = layer ? `${layer}:${channel}` : label;
  return mixed ? `${base} ${minus ? "-" : "+"} ${mixed}` : base;
}

export function visualizeAsk(model: string, unit: Unit, parameters: Record<string, Value>): Ask {
  const own = { ...parameters, ...(unit.negative ? { negative: true } : {}), ...(unit.diverse ? { diversity: 4 } : {}) };
  return askOf(model, "visualize", { units: [unitText(unit)], parameters: own });
}
