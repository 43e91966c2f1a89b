// The data of the page, as tapetum/reports/circuits/page.py writes them into it.

export interface Node {
  name: string;
  layer: string;
  kind: "channel" | "head" | "mlp" | "score";
  index: number;
  /** On each image; empty where they were not kept. */
  activations: (number | null)[];
}

export interface Edge {
  source: number;
  target: number;
  weight: number;
  importance: number;
  patched: number;
  interval: [number, number];
  chance: number;
  /** null: it cannot be told, since too few other nodes reach the target. */
  confirmed: boolean | null;
  stability: number | null;
}

export interface Curve {
  edges: number[];
  kept: Record<string, (number | null)[]>;
  random: (number | null)[][];
  magnitude: (number | null)[];
}

export interface Test {
  name: string;
  p_value: number;
  passed: boolean | null;
  outcome: string;
  words: string;
}

export interface Example {
  node: number;
  image: number;
  value: number;
  crop: string;
}

export interface Circuit {
  model: string;
  target: string;
  measure: string;
  ablation: string;
  groups: string;
  n_images: number;
  nodes: Node[];
  edges: Edge[];
  faithfulness: Curve | null;
  tests: Test[];
  notes: string[];
  looks: { pictures: Record<string, string>; examples: Example[] };
}

export const circuit: Circuit = JSON.parse(document.getElementById("circuit")!.textContent!);

/** The score is the last node. */
export const score = circuit.nodes.length - 1;

/** What stands under a node's picture; its layer is the heading above. */
export function short(node: Node): string {
  return { channel: `${node.index}`, head: `head ${node.index}`, mlp: "MLP", score: node.name }[node.kind];
}
