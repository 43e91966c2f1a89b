// What the studio's server says: the format of its answers.

import type { MapData, Reduce, Status } from "./canvas/maps";

export type Question = "looks_for" | "found" | "mattered" | "trust";

export interface Palette {
  [name: string]: string;
}

export interface About {
  version: string;
  processor: string;
  /** true: the server wants a token, and the request had none. */
  token: boolean;
  limits: { picture_bytes: number; picture_pixels: number; pictures: number; waiting: number; results_at_once: number };
  palette: { light: Palette; dark: Palette; sequential: string[]; diverging: string[]; cover: Record<Reduce, number> };
  samples: (Picture & { credit: string; sample: string })[];
  first: string;
  models: Record<string, string[]>;
  atlas: string | null;
  reports: { title: string; address: string }[];
  questions: Record<Question, string>;
}

export interface Picture {
  id: string;
  name: string;
  width: number;
  height: number;
  thumbnail: string;
}

export type Value = string | number | boolean | null | { picture: string };

export interface Parameter {
  name: string;
  type: "int" | "float" | "bool" | "choice" | "text" | "picture";
  default: Value;
  /** It has no default. */
  needed: boolean;
  low: number | null;
  high: number | null;
  choices: string[];
  help: string;
  layer: boolean;
}

export interface Method {
  name: string;
  title: string;
  kind: string;
  family: string;
  question: Question;
  takes: "images" | "pictures" | "units" | "model" | "maps";
  target: boolean;
  live: boolean;
  summary: string;
  help: string;
  cite: string | null;
  lesson: { number: number; title: string; address: string | null } | null;
  parameters: Parameter[];
}

export interface Layer {
  name: string;
  kind: string;
  channels: number | null;
  grid: [number, number] | null;
  field: number | null;
  stride: number | null;
  parameters: number;
}

export interface Model {
  name: string;
  title: string;
  weights: string;
  size: [number, number];
  classes: number | null;
  labels: string[] | null;
  preprocessing: string;
  layers: Layer[];
  usual: string[];
  notes: string[];
}

export interface MapAsk {
  method: string;
  target: string | null;
  parameters: Record<string, Value>;
}

/** What is asked of api/run. */
export interface Ask {
  model: string;
  weights: string;
  method: string;
  pictures: string[];
  units: string[];
  target: string | null;
  parameters: Record<string, Value>;
  maps: MapAsk[];
}

export interface Prediction {
  index: number;
  label: string;
  probability?: number;
  value?: number;
}

export interface OneMap {
  target: string;
  status: Status;
  words: string;
  /** Why there is no map. */
  why: string | null;
  map: MapData | null;
  stderr: MapData | null;
}

export interface Verdict {
  method: string;
  target: string;
  picture: number;
  outcome: string;
  stands: boolean;
  tested: boolean;
  words: string;
  short: string;
  p_value: number | null;
  faithfulness: number | null;
  edges: number | null;
  centre: number | null;
  null: (number | null)[];
  whole: number | null;
  hidden: Record<string, number | null>;
  tried: number;
  measures: "probability" | "score";
}

export interface Channels {
  layer: string;
  size: [number, number];
  by: string;
  signed: boolean;
  pictures: { channel: number; map: MapData }[][];
}

export interface Made {
  type: "pictures";
  pictures: string[];
  size: [number, number];
  objectives: string[];
  scores: (number | null)[];
  status: string[];
  numbers: Record<string, (number | null)[]>;
  /** Steps whose scores are in `values`. */
  steps: number[];
  values: (number | null)[][];
  layout: [number, number] | null;
}

export interface Numbers {
  type: "numbers";
  metric: string;
  better: "higher" | "lower" | null;
  measures: string;
  values: (number | null)[];
  status: string[];
  words: string;
  fraction: (number | null)[];
  curves: (number | null)[][];
}

export interface Maps {
  type: "maps";
  layer: string | null;
  reduce: Reduce;
  size: [number, number];
  maps: OneMap[];
}

export type ResultValue =
  | { type: "predictions"; rows: Prediction[][] }
  | Maps
  | { type: "channels"; layers: Channels[] }
  | Made
  | Numbers
  /** Row `picture * maps + map`. */
  | { type: "verdicts"; maps: number; rows: Verdict[] }
  | { type: "figure"; picture: string; alt: string; words: string }
  | { type: "words"; words: string };

export interface Result {
  key: string;
  method: string;
  question: Question;
  seconds: number;
  cached: boolean;
  value: ResultValue;
  notes: string[];
  code: { python: string; command: string | null };
  processor: string;
}

export interface Progress {
  done: number;
  total: number;
  unit: string;
  stage: string;
  value: number | null;
  elapsed_s: number;
  left_s: number | null;
  paused?: boolean;
}

/** What arrives while a job runs. */
export interface Events {
  queued: { job: string; before: number };
  started: { seconds: number | null };
  progress: Progress;
  picture: { done: number; total: number; pictures: string[]; value: number | null };
  map: { maps: MapData[]; done: number; total: number };
  result: Result | Model;
  refused: { message: string; kind: string };
  stopped: { message: string };
}
