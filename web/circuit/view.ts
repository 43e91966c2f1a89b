// What is shown of a circuit in a state: nodes and groups in columns, and the lines between them. Pure functions.

import { circuit, type Edge, score, short } from "./format";
import type { State } from "./state";

/** A node, or a group of nodes that is shown as one. */
export interface Item {
  id: string;
  members: number[];
  label: string;
  name: string;
  layer: string;
}

/** The edges from one item to another one, which are summed. */
export interface Line {
  source: string;
  target: string;
  edges: Edge[];
  /** Sum in units of the score. */
  importance: number;
  excites: boolean;
  confirmed: boolean;
  /** Share of all that arrives at the target. */
  share: number;
}

export interface View {
  items: Map<string, Item>;
  lines: Line[];
  /** Layers that share a column have no line between them. */
  columns: { layer: string; items: Item[] }[][];
}

const MOST = 7; // nodes in a column of several layers

const strongest = [...circuit.edges].sort((a, b) => Math.abs(b.importance) - Math.abs(a.importance));

/** Importance of the weakest edge that is shown. */
export const least = (edges: number) => Math.abs(strongest[edges - 1]?.importance ?? 0);

export function view(state: State): View {
  const home = new Map<number, string>(circuit.nodes.map((_, i) => [i, String(i)]));
  state.groups.forEach((group, i) => group.members.forEach((one) => home.set(one, `g${i}`)));
  const kept = strongest.slice(0, state.edges).filter((edge) => edge.confirmed || !state.confirmed);
  const lines = summed(kept, home);
  const shown = new Set([String(score), state.select, ...state.pins.map(String), ...state.groups.map((_, i) => `g${i}`)]);
  for (const line of lines) shown.add(line.source).add(line.target);
  const items = new Map<string, Item>();
  circuit.nodes.forEach((node, i) => {
    if (home.get(i) === String(i) && shown.has(String(i))) {
      items.set(String(i), { id: String(i), members: [i], label: short(node), name: node.name, layer: layer(i) });
    }
  });
  state.groups.forEach(({ name, members }, i) => {
    items.set(`g${i}`, { id: `g${i}`, members, label: name, name: `${name}, ${members.length} nodes`, layer: layer(Math.max(...members)) });
  });
  return { items, lines, columns: ordered(placed(items, lines), lines) };
}

const layer = (node: number) => (node === score ? "" : circuit.nodes[node]!.layer);

function summed(edges: Edge[], home: Map<number, string>): Line[] {
  const found = new Map<string, Edge[]>();
  for (const edge of edges) {
    const [source, target] = [home.get(edge.source)!, home.get(edge.target)!];
    const key = `${source} ${target}`;
    if (source !== target) found.set(key, [...(found.get(key) ?? []), edge]);
  }
  const lines = [...found].map(([key, edges]) => {
    const [source, target] = key.split(" ") as [string, string];
    const importance = edges.reduce((sum, edge) => sum + edge.importance, 0);
    const weight = edges.reduce((sum, edge) => sum + edge.weight, 0);
    return { source, target, edges, importance, excites: (importance || weight) > 0, confirmed: edges.every((edge) => edge.confirmed), share: 0 };
  });
  const into = new Map<string, number>();
  for (const line of lines) into.set(line.target, (into.get(line.target) ?? 0) + Math.abs(line.importance));
  return lines.map((line) => ({ ...line, share: Math.abs(line.importance) / (into.get(line.target) || 1) }));
}

/** Layers in the order in which they run; one joins the column before it where no line leads between the two. */
function placed(items: Map<string, Item>, lines: Line[]): View["columns"] {
  const columns: View["columns"] = [];
  for (const name of [...new Set(circuit.nodes.map((_, i) => layer(i)))]) {
    const here = [...items.values()].filter((item) => item.layer === name);
    if (!here.length) continue;
    const last = columns.at(-1);
    const there = last?.flatMap((one) => one.items) ?? [];
    const joined = lines.some(
      (line) => [line, { source: line.target, target: line.source }].some(
        ({ source, target }) => there.some((one) => one.id === source) && here.some((one) => one.id === target),
      ),
    );
    if (last && name && !joined && there.length + here.length <= MOST) last.push({ layer: name, items: here });
    else columns.push([{ layer: name, items: here }]);
  }
  return columns;
}

/** Each node at the height of those that it leads to, so that few lines cross. */
function ordered(columns: View["columns"], lines: Line[]): View["columns"] {
  const height = new Map<string, number>();
  for (const column of [...columns].reverse()) {
    const wanted = (item: Item) => {
      const out = lines.filter((line) => line.source === item.id && height.has(line.target));
      const total = out.reduce((sum, line) => sum + line.share, 0);
      return total ? out.reduce((sum, line) => sum + line.share * height.get(line.target)!, 0) / total : 0;
    };
    for (const part of column) part.items = [...part.items].sort((a, b) => wanted(a) - wanted(b));
    const whole = column.flatMap((part) => part.items);
    whole.forEach((item, i) => height.set(item.id, i - (whole.length - 1) / 2));
  }
  return columns;
}
