// The first page: what this atlas answers, its layers, what was scanned and with what.

import { useEffect, useRef, useState } from "preact/hooks";
import { count, plural } from "../shared/words";
import { index, useLayer } from "./data";
import type { Layer } from "./format";
import { Heading } from "./parts";
import { wordsOf } from "./names";
import { href } from "./routes";
import { UnitLook } from "./tiles";
import { field, grid } from "./words";

/** A few units of a layer, spread evenly over its channels; its file is read when the row comes into sight. */
function Glance({ layer, many }: { layer: Layer; many: number }) {
  const box = useRef<HTMLSpanElement>(null);
  const [near, come] = useState(false);
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && come(true), { rootMargin: "200px" });
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const { value } = useLayer(near ? layer : null);
  const channels = Array.from({ length: Math.min(many, layer.channels) }, (_, i) => Math.floor((i * layer.channels) / many));
  return (
    <span class="glance" ref={box}>
      {channels.map((channel) => (
        <a key={channel} href={href.unit(layer.name, channel)} aria-label={`${layer.name}:${channel}`}>
          <UnitLook data={value} channel={channel} />
        </a>
      ))}
    </span>
  );
}

function Layers({ layers }: { layers: Layer[] }) {
  const { model } = index();
  const maps = layers.some((layer) => layer.map);
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Layer</th>
            <th scope="col" class="words some">Kind</th>
            <th scope="col">Channels</th>
            <th scope="col">Grid</th>
            <th scope="col"><abbr title="The side of the square of the picture that one place of the map depends on">Field</abbr></th>
            {maps && <th scope="col" class="words to">Atlas</th>}
            <th scope="col" class="words">Some of its units</th>
          </tr>
        </thead>
        <tbody>
          {layers.map((layer) => (
            <tr key={layer.name}>
              <th scope="row"><a href={href.layer(layer.name)}>{layer.name}</a></th>
              <td class="words some">{layer.kind}</td>
              <td>{count(layer.channels)}</td>
              <td>{grid(layer)}</td>
              <td>{field(layer, model.size)}</td>
              {maps && <td class="words to">{layer.map && <a href={href.map(layer.name)} aria-label={`map of ${layer.name}`}>map</a>}</td>}
              <td class="words"><Glance layer={layer} many={8} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Skipped() {
  const { data } = index();
  if (data.skipped_count === 0) return <p>No picture was skipped.</p>;
  return (
    <details>
      <summary>{plural(data.skipped_count, "file")} skipped</summary>
      <dl class="pairs">
        {data.skipped.map(([id, reason]) => <div key={id}><dt>{id}</dt><dd>{reason}</dd></div>)}
      </dl>
      {data.skipped_count > data.skipped.length && <p class="note">The first {data.skipped.length} are listed.</p>}
    </details>
  );
}

function Provenance() {
  const { model, data, versions, made, score, notes } = index();
  const rows: [string, string | null | undefined][] = [
    ["Model", model.name],
    ["From", model.source === model.name ? null : model.source],
    ["Weights", model.weights],
    ["SHA-256", model.weights_sha256],
    ["Classes", model.classes ? count(model.classes) : null],
    ["Sees", model.sees],
    ["Pictures", `${count(data.pictures)} of ${data.name}`],
    ["Score", `${score} of a unit's map`],
    ["Made", made.slice(0, 10)],
    ["With", Object.entries(versions).map((pair) => pair.join(" ")).join(", ")],
  ];
  return (
    <section class="made">
      <h2>What was scanned, with what</h2>
      <dl class="pairs">
        {rows.map(([name, value]) => value && <div key={name}><dt>{name}</dt><dd class={name === "SHA-256" ? "hash" : ""}>{value}</dd></div>)}
      </dl>
      <Skipped />
      {notes.map((note) => <p key={note} class="note">{note}</p>)}
    </section>
  );
}

/** What units are called: words to start from. */
function Names() {
  const { names } = index();
  if (!names || names.length === 0) return null;
  return (
    <section>
      <h2>What its units are called</h2>
      <p class="note">{index().named}</p>
      <ul class="inline">
        {names.map(([name, units]) => (
          <li key={name}><a href={href.search(wordsOf(name).join(" "))}>{name}</a> <span class="muted">{count(units)}</span></li>
        ))}
      </ul>
    </section>
  );
}

export function Overview() {
  const { title, layers, data } = index();
  const units = layers.reduce((sum, layer) => sum + layer.channels, 0);
  return (
    <main>
      <Heading text={title} />
      <p class="lead">
        Of the four questions about a vision model (what a unit looks for, what it <em>found</em>, what mattered, whether to trust the
        answer) this atlas is about the second: {plural(units, "unit")} in {plural(layers.length, "layer")}, each with the pictures,
        of {count(data.pictures)}, that it answered most and least.
      </p>
      <Names />
      {layers.length ? <Layers layers={layers} /> : <p>No layer was scanned.</p>}
      <Provenance />
    </main>
  );
}
