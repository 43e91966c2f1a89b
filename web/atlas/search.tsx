// Search: layers by name, units by what they are called, by label or statistics, pictures by name or label.

import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { remember } from "../shared/address";
import { Choice } from "../shared/parts";
import { count, holds, number, plural } from "../shared/words";
import { index, layerKey, loadAll, peek, useNames, type MissingFile } from "./data";
import type { Layer, LayerData, Names } from "./format";
import { Grid } from "./grid";
import { Heading, Missing } from "./parts";
import { nearness, wordsOf, type Near } from "./names";
import { matching, STATISTICS, understand, type Query } from "./query";
import { href } from "./routes";
import { PictureTile, UnitTile } from "./tiles";

interface Found {
  layer: Layer;
  channel: number;
}

/** The files of the layers to look through, with how many are there. */
function useLayers(layers: Layer[]): { done: number; error?: MissingFile } {
  const keys = layers.map(layerKey);
  const [done, heard] = useState(() => keys.filter((key) => peek(key)).length);
  const [error, fail] = useState<MissingFile>();
  useEffect(() => {
    loadAll(keys, heard).catch(fail);
  }, [keys.join()]);
  return error ? { done, error } : { done };
}

/** The units whose name or label has the most of some words, the most accurate name first. */
function byWords(text: string, layers: Layer[]): (Found & Near)[] {
  const words = wordsOf(text);
  const found = layers.flatMap((layer) => {
    const data = peek<LayerData>(layerKey(layer));
    return data ? [...data.mean.keys()].map((channel) => ({ layer, channel, ...nearness(data, channel, words) })) : [];
  });
  const most = found.reduce((best, one) => Math.max(best, one.share), 0);
  return most === 0 ? [] : found.filter((one) => one.share === most).sort((a, b) => b.auc - a.auc);
}

/** The units that a query means: by words, or by statistics with the farthest beyond the first bound first. */
function units(query: Query, layers: Layer[]): (Found & Partial<Near>)[] {
  if (query.kind === "words") return byWords(query.text, layers);
  if (query.kind !== "statistics") return [];
  const found = layers.flatMap((layer) => {
    const data = peek<LayerData>(layerKey(layer));
    return data ? matching(data, query.conditions).map((channel) => ({ layer, channel })) : [];
  });
  const { statistic, sign } = query.conditions[0]!;
  const value = ({ layer, channel }: Found) => peek<LayerData>(layerKey(layer))![statistic][channel]!;
  return found.sort((a, b) => (sign.startsWith("<") ? value(a) - value(b) : value(b) - value(a)));
}

function pictures(query: Query, names: Names | undefined): number[] {
  if (query.kind !== "words" || !names) return [];
  return [...names.ids.keys()].filter((i) => holds(`${names.ids[i]} ${names.labels?.[i] ?? ""}`, query.text));
}

/** The statistics that a query names, each once. */
const asked = (query: Query) => (query.kind === "statistics" ? [...new Set(query.conditions.map((one) => one.statistic))] : []);

/** What is said beside a unit: the statistics that were asked for. */
function noteOf(query: Query, { layer, channel }: Found): string | undefined {
  if (query.kind !== "statistics") return undefined;
  const data = peek<LayerData>(layerKey(layer))!;
  return asked(query).map((statistic) => number(data[statistic][channel])).join(" · ");
}

function Help() {
  const name = index().layers[0]?.name ?? "layer";
  return (
    <dl class="help">
      <div><dt><code>{name}:5</code></dt><dd>goes to a unit</dd></div>
      <div><dt><code>{name.split(".")[0]}</code></dt><dd>layers whose name holds it</dd></div>
      <div><dt>a word</dt><dd>units by their name or the commonest label of their strongest pictures; pictures by name or label</dd></div>
      <div><dt><code>sparsity &gt; 0.9 and max &gt; 5</code></dt><dd>units by {STATISTICS.join(", ")}</dd></div>
      <div><dt><code>{name} sd &gt; 2</code></dt><dd>the same in one layer</dd></div>
    </dl>
  );
}

export function SearchPage({ text, params }: { text: string; params: URLSearchParams }) {
  const all = index().layers;
  const query = useMemo(() => understand(text, all), [text]);
  const [chosen, choose] = useState(params.get("layer") ?? (query.kind === "statistics" ? (query.layer ?? "") : ""));
  const [kind, setKind] = useState(params.get("show") ?? "units");
  const within = all.filter((layer) => chosen === "" || layer.name === chosen);
  const { done, error } = useLayers(within);
  const names = useNames();
  useLayoutEffect(() => remember({ layer: chosen, show: kind === "units" ? "" : kind }), [chosen, kind]);

  const complete = error !== undefined || within.every((layer) => peek(layerKey(layer)));
  const found = useMemo(() => (complete ? units(query, within) : []), [query, chosen, complete]);
  const seen = useMemo(() => pictures(query, names.value), [query, names.value]);
  const layers = query.kind === "words" ? all.filter((layer) => holds(layer.name, query.text)) : [];
  const both = query.kind === "words";
  const near = found[0]?.share !== undefined && found[0].share < 1;
  const state = !complete ? `Reading layers: ${done} of ${within.length}`
    : `${plural(found.length, "unit")}${asked(query).length ? `, each with its ${asked(query).join(" · ")}` : ""}${both ? `, ${plural(layers.length, "layer")}, ${plural(seen.length, "picture")}` : ""}`;
  return (
    <main>
      {query.kind === "nothing" ? <Heading text="Search" /> : <Heading text={`Search: ${text}`}>Search: <q>{text}</q></Heading>}
      <div class="tools">
        <label>
          Layer{" "}
          <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
            <option value="">all {all.length}</option>
            {all.map((layer) => <option key={layer.name} value={layer.name}>{layer.name}</option>)}
          </select>
        </label>
        {both && <Choice label="Show" value={kind} of={{ units: "Units", pictures: "Pictures" }} set={setKind} />}
        <span class="state" aria-live="polite">{query.kind === "nothing" ? "" : state}</span>
      </div>
      {near && <p class="note">No unit has all these words; these have most of them.</p>}
      {found.some((one) => one.auc) && <p class="note">{index().named}</p>}
      {error && <Missing error={error} />}
      {names.error && both && <Missing error={names.error} />}
      {layers.length > 0 && (
        <ul class="inline">
          {layers.map((layer) => <li key={layer.name}><a href={href.layer(layer.name)}>{layer.name}</a> <span class="muted">{count(layer.channels)}</span></li>)}
        </ul>
      )}
      {kind === "pictures" && both
        ? <Grid key="pictures" count={seen.length} label="Pictures found" id={(i) => seen[i]!} tile={(i) => <PictureTile picture={seen[i]!} />} />
        : <Grid
            key="units"
            count={found.length}
            label="Units found"
            id={(i) => `${found[i]!.layer.name}:${found[i]!.channel}`}
            tile={(i) => <UnitTile {...found[i]!} data={peek(layerKey(found[i]!.layer))} note={noteOf(query, found[i]!)} />}
          />}
      {complete && found.length + seen.length + layers.length === 0 && (
        <>
          <p>{query.kind === "nothing" ? "" : "Nothing found. "}What can be asked:</p>
          <Help />
          {query.kind === "words" && (
            <p>Or start from a <a href={href.pictures()}>picture</a>: its page lists the units that fire on it.</p>
          )}
        </>
      )}
    </main>
  );
}
