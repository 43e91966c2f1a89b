// What is known of the selected node or group, and the tables of edges.

import { useEffect, useRef } from "preact/hooks";
import { number, plural } from "../shared/words";
import { circuit, type Edge, score } from "./format";
import { face } from "./graph";
import type { Change, State } from "./state";
import { opened, pinned, renamed } from "./state";
import type { Item } from "./view";

const KINDS = { channel: "Channel", head: "Attention head", mlp: "MLP", score: "The score" };

const signed = (value: number) => (value > 0 ? "+" : "") + number(value);

export function Panel({ item, state, change }: { item: Item; state: State; change: Change }) {
  const group = item.id.startsWith("g") ? Number(item.id.slice(1)) : null;
  const node = item.members[0]!;
  const inside = new Set(item.members);
  const into = circuit.edges.filter((edge) => inside.has(edge.target) && !inside.has(edge.source));
  const out = circuit.edges.filter((edge) => inside.has(edge.source) && !inside.has(edge.target));
  return (
    <aside class="panel" aria-label="The selected node">
      <header>
        <h2>{group === null ? item.name : item.label}</h2>
        <button type="button" class="close" aria-label="Close" onClick={() => change({ select: "" })}>×</button>
      </header>
      {group === null ? <One node={node} state={state} change={change} /> : <Many group={group} item={item} state={state} change={change} />}
      <Edges title="Edges into it" edges={into} of="source" group={group !== null} change={change} />
      <Edges title="Edges out of it" edges={out} of="target" group={group !== null} change={change} />
    </aside>
  );
}

function One({ node, state, change }: { node: number; state: State; change: Change }) {
  const about = circuit.nodes[node]!;
  const examples = circuit.looks.examples.filter((one) => one.node === node);
  const picture = circuit.looks.pictures[node];
  const what = about.kind === "channel" ? "Where it is largest" : "Images on which it writes most";
  return (
    <>
      <p class="note">
        {KINDS[about.kind]}{about.kind === "channel" && ` ${about.index} of ${about.layer}`}
        {node !== score && (
          <button type="button" class="pin" aria-pressed={state.pins.includes(node)} onClick={() => change({ pins: pinned(state, node) })}>
            {state.pins.includes(node) ? "Unpin" : "Pin"}
          </button>
        )}
      </p>
      {(picture || examples.length > 0) && (
        <div class="looks">
          {picture && <figure><img src={picture} alt="" width="112" height="112" /><figcaption class="note">What drives it most</figcaption></figure>}
          {examples.length > 0 && (
            <figure>
              <ul class="examples">
                {examples.map((one) => (
                  <li><img src={one.crop} alt={`Part of image ${one.image + 1}`} width="64" height="64" /><span class="note">{one.image + 1}: {number(one.value)}</span></li>
                ))}
              </ul>
              <figcaption class="note">{what}: number of the image, value</figcaption>
            </figure>
          )}
        </div>
      )}
      <Activations values={about.activations} kind={about.kind} />
    </>
  );
}

function Many({ group, item, state, change }: { group: number; item: Item; state: State; change: Change }) {
  const field = useRef<HTMLInputElement>(null);
  const fresh = /^group \d+$/.test(item.label);
  useEffect(() => {
    if (fresh) field.current?.select();
  }, [group]);
  return (
    <>
      <form class="name" onSubmit={(event) => { event.preventDefault(); change(renamed(state, group, field.current!.value.trim())); }}>
        <label>Name <input ref={field} key={item.label} defaultValue={item.label} maxLength={60} /></label>
        <button type="submit">Rename</button>
        <button type="button" onClick={() => change(opened(state, group))}>Open the group</button>
      </form>
      <ul class="members">
        {item.members.map((node) => (
          <li>{face(node) && <img src={face(node)} alt="" width="48" height="48" />}<span class="note">{circuit.nodes[node]!.name}</span></li>
        ))}
      </ul>
    </>
  );
}

/** A bar per image, from zero. */
function Activations({ values, kind }: { values: (number | null)[]; kind: keyof typeof KINDS }) {
  const known = values.map((one) => one ?? 0);
  if (!known.length) return null;
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const scale = 36 / (high - low || 1);
  const step = Math.min(24, 320 / known.length);
  const what = { channel: "Mean over places", head: "Root mean square of its output", mlp: "Root mean square of its output", score: "Score" }[kind];
  const words = `${what} on ${plural(known.length, "image")}: ${known.slice(0, 12).map(number).join(", ")}`;
  return (
    <figure class="activations">
      <svg viewBox={`0 0 ${step * known.length} 40`} width={step * known.length} height="40" role="img" aria-label={words}>
        {known.map((one, i) => (
          <rect x={i * step + 1} width={step - 2} y={2 + (high - Math.max(one, 0)) * scale} height={Math.max(0.75, Math.abs(one) * scale)}><title>{`image ${i + 1}: ${number(one)}`}</title></rect>
        ))}
      </svg>
      <figcaption class="note">{what} on each image: {number(Math.min(...known))} to {number(Math.max(...known))}</figcaption>
    </figure>
  );
}

// --- tables

function Edges(props: { title: string; edges: Edge[]; of: "source" | "target"; group: boolean; change: Change }) {
  if (!props.edges.length) return null;
  return (
    <section>
      <h3>{props.title}</h3>
      <Table title={props.title} edges={props.edges} ends={props.group ? ["source", "target"] : [props.of]} change={props.change} />
    </section>
  );
}

/** Edges with all their numbers; a node's name selects it. */
export function Table({ title, edges, ends, change }: { title: string; edges: Edge[]; ends: ("source" | "target")[]; change: Change }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`Table: ${title}`}>
      <table>
        <thead>
          <tr>
            {ends.map((end) => <th scope="col">{end === "source" ? "from" : "to"}</th>)}
            <th scope="col" title="Effect on the target, in its units">weight</th>
            <th scope="col" title="The same by taking the source away, with a 95 % interval over the images">taken away</th>
            <th scope="col" title="The largest effect of random nodes">by chance</th>
            <th scope="col">confirmed</th>
            <th scope="col" title="Share of draws of the images in which the edge is among the strongest">stable</th>
          </tr>
        </thead>
        <tbody>
          {edges.map((edge) => (
            <tr class={edge.weight > 0 ? "excites" : "inhibits"}>
              {ends.map((end) => (
                <th scope="row"><button type="button" onClick={() => change({ select: String(edge[end]) })}>{circuit.nodes[edge[end]]!.name}</button></th>
              ))}
              <td class="weight">{signed(edge.weight)}</td>
              <td>{signed(edge.patched)} <span class="note">{number(edge.interval[0])} to {number(edge.interval[1])}</span></td>
              <td>{edge.chance === null ? "–" : number(edge.chance)}</td>
              <td>{edge.confirmed === null ? "cannot be told" : edge.confirmed ? "yes" : "no"}</td>
              <td>{edge.stability === null ? "–" : `${Math.round(edge.stability * 100)} %`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
