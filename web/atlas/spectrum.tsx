// The six-column figure of a unit: what it was optimised for at both ends, and the data set's pictures in between.

import { index, useNames } from "./data";
import type { Column, Example, Layer, LayerData, Sprite, UnitData } from "./format";
import { fired, Picture, Tile, type Part } from "./sprite";
import { pictureHref, pictureWords } from "./tiles";
import { score as short } from "./words";

export type Shown = "whole" | "fired";

const TITLES: Record<UnitData["around"], Record<Column, string>> = {
  zero: { minimum: "Minimum", slightly_negative: "Slightly negative", slightly_positive: "Slightly positive", maximum: "Maximum" },
  median: { minimum: "Minimum", slightly_negative: "Just below the median", slightly_positive: "Just above the median", maximum: "Maximum" },
};

const box = ({ left, top, side }: Part) => ({
  left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * side}%`, height: `${100 * side}%`,
});

/** One picture with its score; as a whole it shows, under the pointer, where the unit fired. */
function One({ layer, example, shown }: { layer: Layer; example: Example; shown: Shown }) {
  const names = useNames().value;
  const [picture, score] = example;
  const part = fired(layer, example);
  const words = pictureWords(names, picture);
  return (
    <li>
      <a href={pictureHref(names, picture)} title={words}>
        <Picture number={picture} part={shown === "fired" ? part : undefined} alt={words} />
        {shown === "whole" && part.side < 1 && <i class="field" style={box(part)} />}
      </a>
      <span class="score">{short(score)}</span>
    </li>
  );
}

/** Nine pictures, or why there are none. */
function Nine({ layer, unit, column, shown }: { layer: Layer; unit: UnitData; column: Column; shown: Shown }) {
  const examples = unit.spectrum[column];
  const below = column === "minimum" || column === "slightly_negative";
  const zero = unit.around === "zero" ? "zero" : "the median";
  return (
    <figure>
      <figcaption>{TITLES[unit.around][column]}</figcaption>
      {examples.length > 0 && <ol class="nine">{examples.map((example) => <One key={example[0]} {...{ layer, example, shown }} />)}</ol>}
      {examples.length === 0 && <p class="none">No picture scored {below ? "below" : "above"} {zero}.</p>}
    </figure>
  );
}

/** A picture made for the unit, or how to have it made. */
function Made(props: { layer: Layer; channel: number; sprite: Sprite | null | undefined; sign: "positive" | "negative" }) {
  const { layer, channel, sprite, sign } = props;
  const unit = `${layer.name}:${channel}`;
  const command = ["tapetum render", `"${unit}"`, `--model ${index().model.name}`, ...(sign === "negative" ? ["--negative"] : [])];
  return (
    <figure class="made">
      <figcaption>{sign === "negative" ? "Negative optimised" : "Positive optimised"}</figcaption>
      {sprite
        ? <Tile sprite={sprite} number={channel} alt={`A picture made so that ${unit} answers ${sign === "negative" ? "least" : "most"}`} />
        : <p class="none">Not rendered in this atlas. To see it: <code>{command.map((part) => <><span>{part}</span> </>)}</code></p>}
    </figure>
  );
}

export function Spectrum({ layer, unit, data, shown }: { layer: Layer; unit: UnitData; data: LayerData | undefined; shown: Shown }) {
  const nine = (column: Column) => <Nine {...{ layer, unit, column, shown }} />;
  const { channel } = unit;
  return (
    <div class="spectrum">
      <Made layer={layer} channel={channel} sprite={data?.sprites?.negative} sign="negative" />
      {nine("minimum")}
      {nine("slightly_negative")}
      {nine("slightly_positive")}
      {nine("maximum")}
      <Made layer={layer} channel={channel} sprite={data?.sprites?.positive} sign="positive" />
    </div>
  );
}
