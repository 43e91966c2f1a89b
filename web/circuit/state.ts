// What a reader has chosen, all of it in the address: "#/?select=12&pins=1.4&group=3.5~Dog head&edges=30&confirmed=1".

import { useCallback, useEffect, useState } from "preact/hooks";
import { parse } from "../shared/address";
import { circuit, score } from "./format";

export interface Group {
  name: string;
  members: number[];
}

export interface State {
  /** Number of a node, "g0" for the first group, or "". */
  select: string;
  pins: number[];
  groups: Group[];
  /** How many of the most important edges are shown. */
  edges: number;
  confirmed: boolean;
}

const all = circuit.edges.length;

/** Numbers of nodes in a text such as "3.5", without the score and without what is no node. */
const numbers = (text: string) => [
  ...new Set(text.split(".").filter((one) => /^\d+$/.test(one)).map(Number).filter((one) => one < score)),
];

/** A state that fits this circuit, whatever a link says. */
export function read(hash: string): State {
  const { params } = parse(hash);
  const taken = new Set<number>();
  const groups = params.getAll("group").flatMap((text) => {
    const [list = "", name = ""] = text.split(/~(.*)/s);
    const members = numbers(list).filter((one) => !taken.has(one));
    if (members.length < 2) return [];
    members.forEach((one) => taken.add(one));
    return [{ name: name.slice(0, 60) || "group", members }];
  });
  const select = params.get("select") ?? "";
  const known = /^\d+$/.test(select) ? Number(select) <= score : /^g\d+$/.test(select) && Number(select.slice(1)) < groups.length;
  const edges = Number(params.get("edges") ?? all);
  return {
    select: known ? select : "",
    pins: numbers(params.get("pins") ?? "").filter((one) => !taken.has(one)),
    groups,
    edges: Number.isInteger(edges) && edges >= 1 && edges <= all ? edges : all,
    confirmed: params.get("confirmed") === "1",
  };
}

export function write(state: State): string {
  const params = new URLSearchParams();
  if (state.select) params.set("select", state.select);
  if (state.pins.length) params.set("pins", state.pins.join("."));
  for (const group of state.groups) params.append("group", `${group.members.join(".")}~${group.name}`);
  if (state.edges < all) params.set("edges", String(state.edges));
  if (state.confirmed) params.set("confirmed", "1");
  return `#/?${params}`;
}

export type Change = (part: Partial<State>, replace?: boolean) => void;

/** The state of the address, and how to change it; every change is a step back, unless it replaces the last one. */
export function useAddress(): [State, Change] {
  const [state, set] = useState(() => read(location.hash));
  useEffect(() => {
    const go = () => set(read(location.hash));
    addEventListener("hashchange", go);
    addEventListener("popstate", go);
    return () => {
      removeEventListener("hashchange", go);
      removeEventListener("popstate", go);
    };
  }, []);
  const change = useCallback<Change>((part, replace = false) => {
    const next = { ...read(location.hash), ...part };
    try {
      history[replace ? "replaceState" : "pushState"](null, "", write(next));
    } catch {
      // Safari allows a hundred a half minute; the address then says what was a moment ago
    }
    set(next);
  }, []);
  return [state, change];
}

// --- changes that several parts of the page make

export const pinned = (state: State, node: number) =>
  state.pins.includes(node) ? state.pins.filter((one) => one !== node) : [...state.pins, node];

const without = (groups: Group[], members: number[]) => groups.filter((group) => !group.members.some((one) => members.includes(one)));

/** The nodes become one group, which is selected; groups that they come from are joined. */
export function grouped(state: State, members: number[], name: string): Partial<State> {
  const old = state.groups.find((group) => group.members.some((one) => members.includes(one)));
  const whole = [...new Set([...members, ...state.groups.filter((g) => g.members.some((one) => members.includes(one))).flatMap((g) => g.members)])];
  const groups = [...without(state.groups, whole), { name: name || old?.name || `group ${state.groups.length + 1}`, members: whole }];
  return { groups, pins: state.pins.filter((one) => !whole.includes(one)), select: `g${groups.length - 1}` };
}

export const opened = (state: State, group: number): Partial<State> => ({
  groups: state.groups.filter((_, i) => i !== group),
  pins: [...state.pins, ...state.groups[group]!.members],
  select: "",
});

export const renamed = (state: State, group: number, name: string): Partial<State> => ({
  groups: state.groups.map((one, i) => (i === group ? { ...one, name: name.slice(0, 60) || "group" } : one)),
});
