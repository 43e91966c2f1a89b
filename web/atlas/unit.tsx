// A unit: its spectrum, how its scores are spread, and which units answer alike.

import { useState } from "preact/hooks";
import { Choice, Wait } from "../shared/parts";
import { number, percent } from "../shared/words";
import { index, useLayer, useUnits } from "./data";
import type { Layer, LayerData, Neighbor, UnitData } from "./format";
import { Histogram } from "./histogram";
import { Heading, Missing, Refusal, Steps } from "./parts";
import { href } from "./routes";
import { Spectrum, type Shown } from "./spectrum";
import { FarUnit } from "./tiles";
import { fixed } from "./words";

let lastShown: Shown = "whole"; // stays as one goes from unit to unit

function Statistics({ data, unit }: { data: LayerData | undefined; unit: UnitData }) {
  const { channel } = unit;
  const label = data?.labels?.[channel];
  const name = data?.names?.[channel];
  return (
    <dl class="facts">
      {name && <div><dt>Name</dt><dd>{name[0]} <span class="muted">AUC {fixed(name[1])}, p {number(name[2])}</span></dd></div>}
      {label && <div><dt>Strongest on</dt><dd>{label}</dd></div>}
      <div><dt>Mean</dt><dd>{number(data?.mean[channel])}</dd></div>
      <div><dt>Standard deviation</dt><dd>{number(data?.sd[channel])}</dd></div>
      <div><dt>Minimum</dt><dd>{number(data?.minimum[channel])}</dd></div>
      <div><dt>Maximum</dt><dd>{number(data?.maximum[channel])}</dd></div>
      <div><dt>Sparsity</dt><dd>{percent(data?.sparsity[channel])}</dd></div>
      <div><dt>Threshold</dt><dd>{unit.around === "zero" ? "zero" : `median, ${number(unit.threshold)}`}</dd></div>
    </dl>
  );
}

function Others({ title, words, of }: { title: string; words: string; of: Neighbor[] | null | undefined }) {
  if (!of || of.length === 0) return null;
  return (
    <section>
      <h2>{title}</h2>
      <p class="note">{words}</p>
      <ul class="row">
        {of.map(([layer, channel, correlation]) => (
          <li key={`${layer}:${channel}`}><FarUnit layer={layer} channel={channel} note={`r ${fixed(correlation)}`} /></li>
        ))}
      </ul>
    </section>
  );
}

/** A link that can be sent, and a button that copies it. */
function Permanent({ to }: { to: string }) {
  const [copied, say] = useState("");
  const address = new URL(to, location.href).href;
  const copy = () => navigator.clipboard.writeText(address).then(() => say("copied"), () => say("the browser does not allow it"));
  return (
    <p class="permanent">
      <a href={to}>Link to this unit</a>{" "}
      {"clipboard" in navigator && <button type="button" onClick={copy}>Copy</button>} <span aria-live="polite">{copied}</span>
    </p>
  );
}

export function UnitPage({ layer, channel }: { layer: Layer; channel: number }) {
  if (!Number.isInteger(channel) || channel < 0 || channel >= layer.channels) {
    return (
      <Refusal title={`No such unit in ${layer.name}`}>
        <p>
          <a href={href.layer(layer.name)}>{layer.name}</a> has the units{" "}
          <a href={href.unit(layer.name, 0)}>{layer.name}:0</a> to <a href={href.unit(layer.name, layer.channels - 1)}>{layer.name}:{layer.channels - 1}</a>.
        </p>
      </Refusal>
    );
  }
  return <Unit layer={layer} channel={channel} />;
}

function Unit({ layer, channel }: { layer: Layer; channel: number }) {
  const units = useUnits(layer, channel);
  const { value: data, error } = useLayer(layer);
  const name = `${layer.name}:${channel}`;
  const step = (to: number): [string, string] | null =>
    to >= 0 && to < layer.channels ? [href.unit(layer.name, to), `${to}`] : null;
  const unit = units.value?.find((one) => one.channel === channel);
  return (
    <main>
      <Steps previous={step(channel - 1)} next={step(channel + 1)} />
      <Heading text={name}><a href={href.layer(layer.name)}>{layer.name}</a>:{channel}</Heading>
      {error && <Missing error={error} />}
      {units.error ? <Missing error={units.error} /> : !units.value ? <Wait what="the unit" /> : unit
        ? <Body {...{ layer, unit, data }} />
        : <p class="caution" role="alert">The atlas holds nothing of this unit: it was written incompletely.</p>}
    </main>
  );
}

function Body({ layer, unit, data }: { layer: Layer; unit: UnitData; data: LayerData | undefined }) {
  const [shown, show] = useState(lastShown);
  const { data: set } = index();
  return (
    <>
      <Statistics data={data} unit={unit} />
      {unit.circuit && <p class="note"><a href={unit.circuit}>Its circuit</a></p>}
      {data?.names?.[unit.channel] && <p class="note">{index().named}</p>}
      <div class="tools">
        <Choice label="Examples show" value={shown} of={{ whole: "Whole picture", fired: "Where it fired" }} set={(now) => show((lastShown = now))} />
      </div>
      <Spectrum {...{ layer, unit, data, shown }} />
      {unit.check && <p class={unit.check[1] ? "caution" : "note"}>Positive optimised: {unit.check[0]}</p>}
      <div class="spread">
        <section>
          <h2>Its scores on {set.name}</h2>
          <Histogram unit={unit} />
        </section>
        <div>
          <Others title="Neighbours" words="Units whose scores rise and fall with this one's over the pictures." of={unit.neighbors} />
          <Others title="Opposites" words="Units whose scores fall as this one's rise." of={unit.opposite} />
        </div>
      </div>
      <Permanent to={href.unit(layer.name, unit.channel)} />
    </>
  );
}
