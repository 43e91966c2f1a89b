// The data format between `tapetum.atlas` (which writes it) and these pages (which read it).
//
// Every data file is a classic script with one call, `atlas("KEY", VALUE)`, VALUE being JSON. All paths are relative to
// index.html. Numbers in file names have three digits, more where they need more: 000, 001, ..., 999, 1000.
// NaN and infinities are no JSON: a number that is not finite is written as null, and is shown as a dash.

/** The format's version. Pages refuse an atlas of another. */
export const SCHEMA = 1;

/** A picture of the data set, by its place in `Names.ids`: 0 ... index.pictures.count - 1. */
export type PictureNumber = number;
export type Finite = number | null;

/** `data/index.js`, key "index". */
export interface Index {
  schema: number;
  title: string;
  model: {
    name: string;
    source?: string | null;
    classes?: number | null;
    weights?: string | null;
    weights_sha256?: string | null;
    /** How a picture reaches the network, in words. */
    sees?: string | null;
    /** Side in px of what the network sees. */
    size: number;
  };
  data: {
    name: string;
    pictures: number;
    /** [id, reason], at most 100 of them. */
    skipped: [string, string][];
    skipped_count: number;
    labels: boolean;
  };
  /** ISO date, or date and time, of which the date is shown. */
  made: string;
  versions: Record<string, string>;
  /** What a unit's score on a picture is: "spatial maximum". */
  score: string;
  notes: string[];
  /** What a name is worth, in words. */
  named?: string | null;
  /** The names of one term that the most units have, with how many, the most frequent first. */
  names?: [name: string, units: number][];
  layers: Layer[];
  pictures: { count: number; chunk: number } & Sprite;
  served?: boolean;
}

export interface Layer {
  name: string;
  /** The name as part of file names. */
  file: string;
  kind: string;
  channels: number;
  /** Rows, columns of the layer's map; [1, 1] where it has no places. */
  grid: [number, number];
  /** Side in px, in the picture that the network sees; null: unknown, or all of it. */
  receptive_field: number | null;
  stride: number | null;
  signed: boolean;
  tap: "output" | "pre-activation";
  /** Units in one file of `data/units`. */
  unit_chunk: number;
  /** Is there a `data/maps/FILE.js`? */
  map: boolean;
  /** What was optimised for its units. */
  rendered: ("positive" | "negative")[];
}

/**
 * Square tiles in sheets: tile i is tile i % (columns * rows) of sheet i / (columns * rows), row by row. Every sheet, also
 * the last, is exactly columns * tile by rows * tile px: places of background pictures are in per cent of the sheet.
 */
export interface Sprite {
  tile: number;
  columns: number;
  rows: number;
  sheets: string[];
}

/** `data/layers/FILE.js`, key "layer:FILE": columns with one entry per channel. */
export interface LayerData {
  mean: Finite[];
  sd: Finite[];
  /** Share of positions that are <= 0. */
  sparsity: Finite[];
  minimum: Finite[];
  maximum: Finite[];
  non_negative: (0 | 1)[];
  /** Its strongest pictures, the strongest first; four are shown. */
  top: PictureNumber[][];
  /** The commonest label among its strongest pictures with its count, "tabby 4/9"; null where none occurs twice. */
  labels?: (string | null)[] | null;
  /** What its pictures have in common; null where no name stands. */
  names?: (UnitName | null)[] | null;
  /** How many units have a name, and what it takes to have one. */
  named?: string | null;
  /** How many optimised pictures drive their units otherwise than photographs do, and the channels of those. */
  checked?: string | null;
  flagged?: number[];
  /** Channel i is tile i. */
  sprites?: { positive?: Sprite | null; negative?: Sprite | null } | null;
}

/** A formula such as "(dog OR fox) AND NOT hound", its AUC, and its p-value, corrected for all units of the layer. */
export type UnitName = [name: string, auc: number, p: number];

/** A picture, its score, and where on the layer's grid that was; 0, 0 where the grid is [1, 1]. */
export type Example = [picture: PictureNumber, score: number, row: number, column: number];
/** A unit of a layer (its place in index.layers) and the correlation of the two units' scores, -1 ... 1. */
export type Neighbor = [layer: number, channel: number, correlation: number];

/** `data/units/FILE-000.js`, key "units:FILE:0": units 0 ... unit_chunk - 1 of the layer, and so on. */
export interface UnitData {
  channel: number;
  around: "zero" | "median";
  threshold: number;
  /** Best first; fewer than nine, or none, where the data set has no more. */
  spectrum: Record<Column, Example[]>;
  /** Of the scores: counts (m) of pictures between edges (m + 1), which ascend and need not be evenly spaced. */
  histogram?: { edges: number[]; counts: number[] } | null;
  neighbors?: Neighbor[] | null;
  opposite?: Neighbor[] | null;
  /** Does its optimised picture drive it through the same channels as photographs do? In words, and whether it does not. */
  check?: [said: string, flagged: boolean];
  /** Page of its circuit, relative to the site. */
  circuit?: string;
}
export type Column = "minimum" | "slightly_negative" | "slightly_positive" | "maximum";

/** `data/ids.js`, key "ids": the names of all pictures, so that a link to a picture and alternative texts need one file. */
export interface Names {
  ids: string[];
  labels?: (string | null)[] | null;
}

/** How a unit answered: z = (score - mean) / sd over the data set, percentile 0 ... 100 among its pictures. */
export type Fire = [layer: number, channel: number, score: number, z: Finite, percentile: Finite];

/** `data/pictures/000.js`, key "pictures:0": pictures 0 ... chunk - 1, and so on. The strongest z first. */
export interface PictureChunk {
  fires: Fire[][];
}

/** `data/maps/FILE.js`, key "map:FILE": an activation atlas. */
export interface MapData {
  /** Rows, columns. */
  grid: [number, number];
  layout: "umap" | "pca";
  /** Positions taken per picture. */
  positions: number;
  cells: Cell[];
  /** Label, then [place in cells, count] of the cells with pictures of that label. */
  classes?: [label: string, ...cells: [cell: number, count: number][]][] | null;
  /** null: nothing was rendered; a cell then shows its first picture. */
  sprite?: Sprite | null;
  notes?: string[];
}

export interface Cell {
  row: number;
  column: number;
  count: number;
  tile: number;
  labels?: [text: string, count: number][] | null;
  units: [channel: number, value: number][];
  pictures: PictureNumber[];
}

/**
 * What `POST api/fires` answers where the pages are served: index.html then has <meta name="tapetum-served" content="1">. The
 * request's body is the picture's bytes. A refusal has another status than 200 and {"error": "one line"}.
 */
export interface Answer {
  predictions: [label: string, probability: number][];
  fires: Fire[];
  /** What the network saw, a data: address. */
  seen: string;
}
