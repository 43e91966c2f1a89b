// How a unit's scores are spread over the data set, with the threshold, and below it where the examples shown lie.

import { useState } from "preact/hooks";
import { Choice } from "../shared/parts";
import { capital, count, number, plural } from "../shared/words";
import { index } from "./data";
import type { Column, UnitData } from "./format";

const ORDER: Column[] = ["minimum", "slightly_negative", "slightly_positive", "maximum"];
type Scale = "linear" | "log";

/** density_i = counts_i / (sum of counts * width_i), so that the bars' area is 1. */
export function densities(edges: number[], counts: number[]): number[] {
  const total = counts.reduce((sum, one) => sum + one, 0);
  return counts.map((one, i) => one / (total * (edges[i + 1]! - edges[i]!)) || 0);
}

/** Heights 0 ... 1; on the log scale the lowest bar that is not empty keeps a tenth of a decade. */
function heights(values: number[], scale: Scale): number[] {
  const high = Math.max(...values);
  if (scale === "linear") return values.map((value) => value / high);
  const floor = Math.min(...values.filter((value) => value > 0)) / 10 ** 0.1;
  return values.map((value) => (value > 0 ? Math.log(value / floor) / Math.log(high / floor) : 0));
}

const steps = (edges: number[], tall: number[], place: (x: number) => number) =>
  `M0 100${tall.map((height, i) => `H${place(edges[i]!)}V${(100 - 100 * height).toFixed(2)}H${place(edges[i + 1]!)}`).join("")}V100Z`;

export function Histogram({ unit }: { unit: UnitData }) {
  const [scale, set] = useState<Scale>("linear");
  const { histogram, threshold, spectrum } = unit;
  const all = histogram?.counts.reduce((sum, one) => sum + one, 0) ?? 0;
  if (!histogram || all === 0) return <p class="note">This atlas holds no histogram of the unit.</p>;
  const { edges, counts } = histogram;
  const [low, high] = [edges[0]!, edges.at(-1)!];
  if (!(high > low)) return <p class="note">All its scores are {number(low)}.</p>;
  const values = densities(edges, counts);
  const place = (x: number) => (100 * (x - low)) / (high - low);
  const at = place(threshold);
  const inside = at >= 0 && at <= 100;
  const name = unit.around === "zero" ? "zero" : `median ${number(threshold)}`;
  const words = `Histogram of ${count(all)} values from ${number(low)} to ${number(high)}; the highest density is ${number(Math.max(...values))}.`;
  return (
    <figure class="histogram">
      <div class="plot">
        <span class="axis">{number(Math.max(...values))}</span>
        <span class="axis middle">density</span>
        <span class="axis low">{scale === "linear" ? "0" : ""}</span>
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label={words}>
          <path class="bars" d={steps(edges, heights(values, scale), place)} />
          {inside && <path class="threshold" d={`M${at} 0V100`} vector-effect="non-scaling-stroke" />}
        </svg>
        {inside && <span class={`at ${at > 60 ? "before" : ""}`} style={{ left: `${at}%` }}>{name}</span>}
        <div class="rug" aria-hidden="true">
          {ORDER.flatMap((column) => spectrum[column].map(([picture, score]) => <i key={`${column}${picture}`} class={column} style={{ left: `${place(score)}%` }} />))}
        </div>
        <div class="ticks">
          <span>{number(low)}</span>
          <span>{number(high)}</span>
        </div>
      </div>
      <figcaption>
        {capital(index().score)} on {plural(all, "picture")}; ticks below the axis are the pictures above.{" "}
        {!inside && `${capital(name)} lies outside. `}
        <Choice label="Density axis" value={scale} of={{ linear: "Linear", log: "Log" }} set={set} />
      </figcaption>
    </figure>
  );
}
