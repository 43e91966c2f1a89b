// What is typed into the search box: a unit, the start of a layer's name, conditions on statistics, or words of a label.

import type { Finite, Layer, LayerData } from "./format";

export const STATISTICS = ["mean", "sd", "sparsity", "minimum", "maximum"] as const;
export type Statistic = (typeof STATISTICS)[number];

const NAMES: Record<string, Statistic> = {
  mean: "mean", sd: "sd", std: "sd", sparsity: "sparsity", min: "minimum", minimum: "minimum", max: "maximum", maximum: "maximum",
};

export interface Condition {
  statistic: Statistic;
  sign: "<" | "<=" | ">" | ">=";
  bound: number;
}

export type Query =
  | { kind: "nothing" }
  | { kind: "unit"; layer: string; channel: number }
  | { kind: "statistics"; layer: string | null; conditions: Condition[] }
  | { kind: "words"; text: string };

const CONDITION = /([a-z]+)\s*(<=|>=|<|>|≤|≥)\s*([-+−]?\d*\.?\d+(?:e[-+]?\d+)?)\s*(%?)/gi;

/** "blocks.3.0 sparsity > 0.9 and max > 5": conditions, each of which a unit must meet, in one layer or in all. */
function conditions(text: string, layers: Layer[]): Query | null {
  const found: Condition[] = [];
  let known = true;
  const rest = text.replace(CONDITION, (_, name: string, sign: string, bound: string, per: string) => {
    const statistic = NAMES[name.toLowerCase()];
    if (!statistic) known = false;
    else {
      const value = Number(bound.replace("−", "-")) / (per ? 100 : 1);
      found.push({ statistic, sign: sign.replace("≤", "<=").replace("≥", ">=") as Condition["sign"], bound: value });
    }
    return " ";
  });
  if (!known || found.length === 0) return null;
  const left = rest.split(/[\s,;&]+/).filter((word) => word !== "" && !/^(and|in)$/i.test(word));
  const layer = left.length === 1 ? layers.find((one) => one.name === left[0]!.replace(/:$/, "")) : undefined;
  if (left.length > 0 && !layer) return null;
  return { kind: "statistics", layer: layer?.name ?? null, conditions: found };
}

/** What a text asks for. */
export function understand(text: string, layers: Layer[]): Query {
  const asked = text.trim();
  if (asked === "") return { kind: "nothing" };
  const unit = /^(.+?)\s*:\s*(\d+)$/.exec(asked);
  if (unit && layers.some((layer) => layer.name === unit[1])) {
    return { kind: "unit", layer: unit[1]!, channel: Number(unit[2]) };
  }
  return conditions(asked, layers) ?? { kind: "words", text: asked };
}

/** Does a value meet a condition? What is not finite meets none. */
export function meets(value: Finite | undefined, { sign, bound }: Condition): boolean {
  if (value === null || value === undefined) return false;
  if (sign === "<") return value < bound;
  if (sign === "<=") return value <= bound;
  return sign === ">" ? value > bound : value >= bound;
}

/** The channels of a layer that meet all conditions. */
export function matching(data: LayerData, asked: Condition[]): number[] {
  const columns = asked.map((condition) => data[condition.statistic]);
  return [...data.mean.keys()].filter((channel) => asked.every((one, i) => meets(columns[i]![channel], one)));
}
