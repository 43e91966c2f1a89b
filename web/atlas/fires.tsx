// Which units answer a picture unusually strongly: bars of z = (score - mean) / sd, all together or layer by layer.

import { useState } from "preact/hooks";
import { Choice } from "../shared/parts";
import { number } from "../shared/words";
import { index, useLayer } from "./data";
import type { Fire, Layer } from "./format";
import { href } from "./routes";
import { UnitLook } from "./tiles";
import { fixed } from "./words";

type Order = "together" | "layers";
let lastOrder: Order = "together";

function Row({ layer, fire, most }: { layer: Layer; fire: Fire; most: number }) {
  const [, channel, score, z, percentile] = fire;
  const { value: data } = useLayer(layer);
  const label = data?.labels?.[channel];
  return (
    <li>
      <a href={href.unit(layer.name, channel)}>
        <UnitLook data={data} channel={channel} />
        <span class="name">{layer.name}:{channel}</span>
      </a>
      <span class="note">{label ?? ""}</span>
      <span class="value">
        z {fixed(z)} · score {number(score)}{percentile !== null && ` · ${percentile >= 100 ? "the highest" : `above ${percentile.toFixed(percentile > 99 ? 1 : 0)} %`}`}
      </span>
      <span class="bar" style={{ "--share": `${Math.max(0, Math.min(100, (100 * (z ?? 0)) / most))}%` }} />
    </li>
  );
}

const Rows = ({ fires, most }: { fires: Fire[]; most: number }) => (
  <ol class="fires">
    {fires.map((fire) => {
      const layer = index().layers[fire[0]];
      return layer && <Row key={`${fire[0]}:${fire[1]}`} layer={layer} fire={fire} most={most} />;
    })}
  </ol>
);

export function Fires({ fires }: { fires: Fire[] }) {
  const [order, set] = useState(lastOrder);
  const { layers } = index();
  const most = Math.max(1e-9, ...fires.map((fire) => fire[3] ?? 0));
  const present = [...new Set(fires.map((fire) => fire[0]))].filter((at) => layers[at]).sort((a, b) => a - b);
  return (
    <section>
      <h2>Units that fire on it</h2>
      <p class="note">z is a unit's score here less its mean over the data set, in standard deviations.</p>
      {fires.length === 0 && <p>None is listed for this picture.</p>}
      <div class="tools">
        <Choice label="Units" value={order} of={{ together: "Strongest first", layers: "By layer" }} set={(now) => set((lastOrder = now))} />
      </div>
      {order === "together" ? <Rows fires={fires} most={most} /> : present.map((at) => (
        <section key={at} class="group">
          <h3><a href={href.layer(layers[at]!.name)}>{layers[at]!.name}</a></h3>
          <Rows fires={fires.filter((fire) => fire[0] === at)} most={most} />
        </section>
      ))}
    </section>
  );
}
