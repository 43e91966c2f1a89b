// The page's state, all of it in its address: whoever has the link sees the same.

import { parse } from "../shared/address";
import { host } from "./host";
import { store } from "./store";
import type { Ask, Question, Value } from "./types";

export interface Pin {
  ask: Ask;
  /** Which of a result's pictures. */
  row: number;
}

export interface State {
  tab: Question;
  /** "efficientnet_lite0", or "efficientnet_lite0~random" with random weights. */
  model: string;
  /** The model beside it; "" for none. */
  other: string;
  /** Names of the packaged photographs, or ids of other pictures. */
  pictures: string[];
  /** The first picture as it was changed by hand; "" where it was not. */
  edited: string;
  /** Classes that are explained, by index; none: the predicted one. */
  targets: string[];
  /** "rather than" this class. */
  against: string;
  methods: string[];
  /** Parameters that are not the defaults, by method. */
  parameters: Record<string, Record<string, Value>>;
  unit: Unit;
  /** The inspection, metric ... that is chosen in a tab beside what the tab always shows. */
  more: string;
  /** Methods whose button was pressed: they are asked again when the address is opened. */
  ran: string[];
  opacity: number;
  threshold: number;
  smooth: boolean;
  pins: Pin[];
  /** The tour's step, 1 ... 8; 0: no tour. */
  tour: number;
}

/** What is visualised. */
export interface Unit {
  /** "" for a class. */
  layer: string;
  channel: number;
  /** The class, by index. */
  label: string;
  negative: boolean;
  diverse: boolean;
  /** A second unit or class, "blocks.3.0:5", and whether it is taken away. */
  mixed: string;
  minus: boolean;
}

export const START: State = {
  tab: "mattered",
  model: "",
  other: "",
  pictures: [],
  edited: "",
  targets: [],
  against: "",
  methods: ["grad_cam"],
  parameters: {},
  unit: { layer: "", channel: 0, label: "", negative: false, diverse: false, mixed: "", minus: false },
  more: "",
  ran: [],
  opacity: 0.85,
  threshold: 0,
  smooth: true,
  pins: [],
  tour: 0,
};

export const TAB_IDS: Question[] = ["looks_for", "found", "mattered", "trust"];

/** Text that an address may hold, of any JSON. */
export const packed = (value: unknown) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");

export function unpacked<T>(text: string, otherwise: T): T {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch {
    return otherwise; // a link that was cut
  }
}

const list = (values: string[]) => values.map((value) => value.replaceAll(",", "%2C")).join(",");
const listed = (text: string) =>
  text
    .split(",")
    .filter((part) => part !== "")
    .map((part) => part.replaceAll("%2C", ","));
const size = (text: string | null, otherwise: number) =>
  text !== null && text !== "" && Number.isFinite(Number(text)) ? Math.min(1, Math.max(0, Number(text))) : otherwise;

function unitText({ layer, channel, label, negative, diverse, mixed, minus }: Unit): string {
  const what = layer ? `${layer}:${channel}` : label && `class:${label}`;
  return [what, negative && "negative", diverse && "diverse", mixed && `${minus ? "minus" : "plus"} ${mixed}`].filter(Boolean).join(",");
}

function unitOf(text: string): Unit {
  const [what = "", ...rest] = text.split(",");
  const cut = what.lastIndexOf(":");
  const name = what.slice(0, Math.max(0, cut));
  const number = what.slice(cut + 1);
  const mixed = rest.find((part) => /^(plus|minus) /.test(part)) ?? "";
  return {
    layer: name === "class" ? "" : name,
    channel: name === "class" ? 0 : Math.max(0, Math.floor(Number(number)) || 0),
    label: name === "class" ? number : "",
    negative: rest.includes("negative"),
    diverse: rest.includes("diverse"),
    mixed: mixed.replace(/^\w+ /, ""),
    minus: mixed.startsWith("minus"),
  };
}

/** The state as the page's address. */
export function address(state: State): string {
  const params: [string, string, string][] = [
    ["model", state.model, ""],
    ["with", state.other, ""],
    ["pictures", list(state.pictures), ""],
    ["edited", state.edited, ""],
    ["classes", list(state.targets), ""],
    ["rather", state.against, ""],
    ["methods", list(state.methods), "grad_cam"],
    ["set", Object.keys(state.parameters).length ? packed(state.parameters) : "", ""],
    ["unit", unitText(state.unit), ""],
    ["more", state.more, ""],
    ["ran", list(state.ran), ""],
    ["opacity", String(state.opacity), "0.85"],
    ["threshold", String(state.threshold), "0"],
    ["blocks", state.smooth ? "" : "1", ""],
    ["pins", state.pins.length ? packed(state.pins) : "", ""],
    ["tour", state.tour ? String(state.tour) : "", ""],
  ];
  const query = params
    .filter(([, value, usual]) => value !== usual)
    .map(
      ([name, value]) =>
        `${name}=${encodeURIComponent(value).replace(/%(2C|3A|7E|20)/g, (code) => (code === "%20" ? "+" : decodeURIComponent(code)))}`,
    )
    .join("&");
  return `#/${state.tab}${query ? `?${query}` : ""}`;
}

/** The state that an address says; what it leaves out is as at the start. */
export function stateOf(hash: string): State {
  const { page, params } = parse(hash);
  const text = (name: string) => params.get(name) ?? "";
  const methods = params.has("methods") ? listed(text("methods")) : START.methods;
  return {
    tab: TAB_IDS.find((one) => one === page) ?? START.tab,
    model: text("model"),
    other: text("with"),
    pictures: listed(text("pictures")).slice(0, 6),
    edited: text("edited"),
    targets: listed(text("classes")).slice(0, 6),
    against: text("rather"),
    methods,
    parameters: unpacked(text("set"), {}),
    unit: unitOf(text("unit")),
    more: text("more"),
    ran: listed(text("ran")),
    opacity: size(params.get("opacity"), 0.85),
    threshold: size(params.get("threshold"), 0),
    smooth: !params.has("blocks"),
    pins: unpacked<Pin[]>(text("pins"), []).slice(0, 6),
    tour: Math.min(8, Math.max(0, Math.floor(Number(text("tour"))) || 0)),
  };
}

export const state = store(stateOf(host?.address ?? location.hash));
/** What a state lacks that the server knows: its first model and picture. */
export const usual: Partial<State> = {};
const filled = (one: State): State => ({
  ...one,
  model: one.model || (usual.model ?? ""),
  pictures: one.pictures.length ? one.pictures : (usual.pictures ?? []),
});
export const embedded = new URLSearchParams(location.search).get("embed") === "1";

/** Changes the state and the address; `step`: a new entry of the browser's history, which Back undoes. */
export function change(patch: Partial<State>, step = false): void {
  const next = filled({ ...state.get(), ...patch });
  const to = address(next);
  try {
    if (host) host.keep(to);
    else if (to !== location.hash) history[step ? "pushState" : "replaceState"](null, "", to);
  } catch {
    // Safari allows a hundred a half minute; the address then says what was a moment ago
  }
  state.set(next);
}

/** Remembers that a method was asked for, or that it is not any more. */
export const ran = (method: string, on: boolean) =>
  change({ ran: [...state.get().ran.filter((one) => one !== method), ...(on ? [method] : [])] });

export const changeUnit = (patch: Partial<Unit>) => change({ unit: { ...state.get().unit, ...patch } });

export function changeParameters(method: string, values: Record<string, Value>): void {
  const { [method]: _, ...others } = state.get().parameters;
  change({ parameters: Object.keys(values).length ? { ...others, [method]: values } : others });
}

/** Goes to a state that was kept as an address. */
export const go = (hash: string) => change(stateOf(hash), true);

const followed = () => state.set(filled(stateOf(location.hash)));
addEventListener("popstate", followed);
addEventListener("hashchange", followed);

/** "name~random" as name and weights. */
export const modelOf = (key: string): { model: string; weights: string } =>
  key.endsWith("~random") ? { model: key.slice(0, -7), weights: "random" } : { model: key, weights: "default" };
export const modelKey = (model: string, weights: string) => (weights === "random" ? `${model}~random` : model);
