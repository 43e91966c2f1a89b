// The page of a circuit: graph, the selected node, tests, and all edges as a table.

import { render } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { number, plural } from "../shared/words";
import "../shared/theme.css";
import { circuit } from "./format";
import { Graph } from "./graph";
import { Panel, Table } from "./panel";
import type { Change, State } from "./state";
import { grouped, useAddress } from "./state";
import "./style.css";
import { Trust } from "./trust";
import { least, view } from "./view";

function Page() {
  const [state, change] = useAddress();
  const shown = useMemo(() => view(state), [state]);
  const selected = shown.items.get(state.select);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key === "Escape" && state.select) {
        const was = state.select;
        change({ select: "" });
        document.querySelector<HTMLElement>(`[data-id="${was}"]`)?.focus();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [state.select]);
  const measure = { patching: "taking nodes away", gradient: "gradient × change", weights: "weights", expanded: "expanded weights" }[circuit.measure];
  return (
    <>
      <header class="top"><span class="mark">tapetum</span><span>{circuit.model}</span></header>
      <main>
        <h1>Circuit of {circuit.target}</h1>
        <p class="lead">
          Which parts of the network make this score on {plural(circuit.n_images, "image")}, and through which edges: {circuit.edges.length} edges
          by {measure}, of {circuit.groups}.
        </p>
        <Tools state={state} change={change} count={shown.lines.length} />
        <div class={selected ? "work open" : "work"}>
          <Graph view={shown} state={state} change={change} />
          {selected && <Panel key={selected.id} item={selected} state={state} change={change} />}
        </div>
        <Key />
        <Trust />
        <section class="all">
          <h2>All edges</h2>
          <Table title="All edges" edges={circuit.edges} ends={["source", "target"]} change={change} />
        </section>
      </main>
    </>
  );
}

function Tools({ state, change, count }: { state: State; change: Change; count: number }) {
  const name = useRef<HTMLInputElement>(null);
  const all = circuit.edges.length;
  return (
    <div class="tools">
      <label>
        Edges{" "}
        <input type="range" min="1" max={all} value={state.edges} aria-valuetext={`the ${state.edges} most important`}
          onInput={(event) => change({ edges: Number(event.currentTarget.value) }, true)} />
      </label>
      <span class="state-of" role="status">
        {state.edges} of {all}, importance from {number(least(state.edges))}{count < state.edges && `; ${plural(count, "line")}`}
      </span>
      <label><input type="checkbox" checked={state.confirmed} onChange={(event) => change({ confirmed: event.currentTarget.checked })} /> confirmed only</label>
      {state.pins.length > 0 && (
        <form onSubmit={(event) => { event.preventDefault(); if (state.pins.length > 1) change(grouped(state, state.pins, name.current!.value.trim())); }}>
          <span>{state.pins.length} pinned</span>
          <input ref={name} aria-label="Name of the group" placeholder="name" size={12} maxLength={60} />
          <button type="submit" disabled={state.pins.length < 2}>Group</button>
          <button type="button" onClick={() => change({ pins: [] })}>Unpin all</button>
        </form>
      )}
    </div>
  );
}

const Key = () => (
  <p class="note key">
    <span><svg width="30" height="10" aria-hidden="true"><path class="excites" d="M0 5H28" stroke-width="3" marker-end="url(#arrow)" /></svg> excites</span>
    <span><svg width="30" height="14" aria-hidden="true"><path class="inhibits" d="M0 7H26" stroke-width="3" marker-end="url(#bar)" /></svg> inhibits</span>
    <span>faint: not confirmed</span>
    <span>dotted frame: part of an image, where no picture was made</span>
    <span>thickness: share of what arrives at the target</span>
    <span>Click a node to see it; Ctrl-click or P pins it; drag a pinned node onto another one to group them. Arrow keys follow lines. The address keeps all of it.</span>
  </p>
);

render(<Page />, document.getElementById("page")!);
