// A layer: all its units as tiles, sorted, filtered, one to jump to.

import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import { remember } from "../shared/address";
import { Choice, Wait } from "../shared/parts";
import { count, holds, number, percent, plural } from "../shared/words";
import { index, useLayer } from "./data";
import type { Layer, LayerData } from "./format";
import { Grid } from "./grid";
import { Heading, Missing, Steps } from "./parts";
import { wordsOf } from "./names";
import { STATISTICS, type Statistic } from "./query";
import { href } from "./routes";
import { UnitTile } from "./tiles";
import { field, grid, tap } from "./words";

type Sort = "channel" | Statistic;
export const WORDS: Record<Sort, string> = {
  channel: "channel", mean: "mean", sd: "standard deviation", sparsity: "sparsity", minimum: "minimum", maximum: "maximum",
};

/** The channels that are shown, in order. What is not finite comes last. */
function ordered(data: LayerData, sort: Sort, down: boolean, label: string): number[] {
  const channels = [...data.mean.keys()].filter(
    (channel) => label === "" || holds(`${data.labels?.[channel] ?? ""} ${wordsOf(data.names?.[channel]?.[0] ?? "").join(" ")}`, label),
  );
  if (sort === "channel") return down ? channels.reverse() : channels;
  const values = data[sort];
  const sign = down ? -1 : 1;
  const key = (channel: number) => values[channel] ?? sign * Infinity;
  return channels.sort((a, b) => sign * (key(a) - key(b)) || a - b);
}

/** The layer's numbers in a line. */
export function Facts({ layer }: { layer: Layer }) {
  const { model } = index();
  return (
    <dl class="facts">
      <div><dt>Kind</dt><dd>{layer.kind}</dd></div>
      <div><dt>Channels</dt><dd>{count(layer.channels)}</dd></div>
      <div><dt>Grid</dt><dd>{grid(layer)}</dd></div>
      <div><dt>Receptive field</dt><dd>{field(layer, model.size)}</dd></div>
      {layer.stride !== null && <div><dt>Stride</dt><dd>{layer.stride} px</dd></div>}
      <div><dt>Values</dt><dd>{tap(layer)}</dd></div>
    </dl>
  );
}

export function LayerPage({ layer, params }: { layer: Layer; params: URLSearchParams }) {
  const { value: data, error } = useLayer(layer);
  const { layers } = index();
  const at = layers.indexOf(layer);
  const step = (to: number): [string, string] | null => (layers[to] ? [href.layer(layers[to].name), layers[to].name] : null);
  return (
    <main>
      <Steps previous={step(at - 1)} next={step(at + 1)} />
      <Heading text={layer.name} />
      <Facts layer={layer} />
      {layer.map && <p><a href={href.map(layer.name)}>Activation atlas of this layer</a></p>}
      {error ? <Missing error={error} /> : data ? <Units layer={layer} data={data} params={params} /> : <Wait what={`${count(layer.channels)} units`} />}
    </main>
  );
}

function Units({ layer, data, params }: { layer: Layer; data: LayerData; params: URLSearchParams }) {
  const asked = params.get("sort") as Sort | null;
  const [sort, setSort] = useState<Sort>(asked && asked in WORDS ? asked : "channel");
  const [down, setDown] = useState(params.get("order") === "down");
  const [label, setLabel] = useState(params.get("label") ?? "");
  const [look, setLook] = useState<"made" | "found">(params.get("look") === "found" ? "found" : "made");
  const [jump, setJump] = useState<{ channel: number; nonce: number } | null>(null);
  const [refused, refuse] = useState("");
  const made = data.sprites?.positive != null;
  useLayoutEffect(
    () => remember({ sort: sort === "channel" ? "" : sort, order: down ? "down" : "", label, look: look === "made" ? "" : look }),
    [sort, down, label, look],
  );
  const channels = useMemo(() => ordered(data, sort, down, label.trim()), [data, sort, down, label]);
  const place = jump === null ? -1 : channels.indexOf(jump.channel);

  const go = (event: Event) => {
    event.preventDefault();
    const text = new FormData(event.currentTarget as HTMLFormElement).get("channel") as string;
    const channel = Number(text);
    if (text === "") return refuse("");
    if (!Number.isInteger(channel) || channel < 0 || channel >= layer.channels) return refuse(`Channels are 0 to ${layer.channels - 1}.`);
    if (!channels.includes(channel)) return refuse(`Channel ${channel} is not among those shown.`);
    refuse("");
    return setJump({ channel, nonce: (jump?.nonce ?? 0) + 1 });
  };
  const note = (channel: number) =>
    sort === "channel" ? undefined : sort === "sparsity" ? percent(data.sparsity[channel]) : number(data[sort][channel]);
  return (
    <>
      {data.named && <p class="note">{data.named}</p>}
      {data.checked && <p class="note">{data.checked}</p>}
      <div class="tools sticky">
        <label>
          Sort{" "}
          <select value={sort} onChange={(event) => (setSort(event.currentTarget.value as Sort), setDown(event.currentTarget.value !== "channel"))}>
            {(["channel", ...STATISTICS] as const).map((one) => <option key={one} value={one}>{WORDS[one]}</option>)}
          </select>
        </label>
        <button type="button" onClick={() => setDown(!down)} aria-label={down ? "Largest first" : "Smallest first"}>{down ? "↓" : "↑"}</button>
        {(data.labels || data.names) && (
          <label>
            {data.names ? "Name or label" : "Label"} <input type="search" size={12} value={label} onInput={(event) => setLabel(event.currentTarget.value)} />
          </label>
        )}
        <form onSubmit={go}>
          <label>
            Channel <input name="channel" inputMode="numeric" size={6} autocomplete="off" />
          </label>
          <button type="submit">Go</button>
        </form>
        {made && <Choice label="Tiles show" value={look} of={{ made: "Optimised", found: "Strongest pictures" }} set={setLook} />}
        <span class="state" aria-live="polite">
          {refused || (channels.length === layer.channels ? plural(channels.length, "unit") : `${count(channels.length)} of ${plural(layer.channels, "unit")}`)}
        </span>
      </div>
      <Grid
        count={channels.length}
        label={`Units of ${layer.name}`}
        id={(i) => channels[i]!}
        jump={place < 0 ? null : { place, nonce: jump!.nonce }}
        tile={(i) => (
          <UnitTile short layer={layer} channel={channels[i]!} data={data} examples={look === "found"} note={note(channels[i]!)} />
        )}
      />
    </>
  );
}
