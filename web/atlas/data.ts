// Data files: a script is added, and calls the global atlas(key, value) of index.html.

import { useEffect, useState } from "preact/hooks";
import { SCHEMA, type Index, type Layer, type LayerData, type MapData, type Names, type PictureChunk, type UnitData } from "./format";

declare global {
  interface Window {
    atlas: { given: Record<string, unknown> };
  }
}

const pending = new Map<string, Promise<unknown>>();

/** A data file that could not be had, by its path. */
export class MissingFile extends Error {
  constructor(readonly path: string) {
    super(`The file ${path} could not be loaded.`);
  }
}

const digits = (number: string) => number.padStart(3, "0");

/** The path of a key's file. */
export function pathOf(key: string): string {
  const [kind, file = "", number = ""] = key.split(":");
  if (kind === "layer") return `data/layers/${file}.js`;
  if (kind === "units") return `data/units/${file}-${digits(number)}.js`;
  if (kind === "pictures") return `data/pictures/${digits(file)}.js`;
  if (kind === "map") return `data/maps/${file}.js`;
  return `data/${key}.js`;
}

/** What is there already, or undefined. */
export function peek<T>(key: string): T | undefined {
  return window.atlas.given[key] as T | undefined;
}

/** The value of a key: from its file, read once. */
export function load<T>(key: string): Promise<T> {
  const given = peek<T>(key);
  if (given !== undefined) return Promise.resolve(given);
  let promise = pending.get(key);
  if (!promise) {
    promise = new Promise((resolve, reject) => {
      const path = pathOf(key);
      const script = document.createElement("script");
      const done = () => {
        script.remove();
        pending.delete(key);
        const value = peek(key);
        if (value === undefined) reject(new MissingFile(path));
        else resolve(value);
      };
      script.onload = script.onerror = done;
      script.src = path.split("/").map(encodeURIComponent).join("/");
      document.head.append(script);
    });
    pending.set(key, promise);
  }
  return promise as Promise<T>;
}

export interface Loaded<T> {
  value?: T;
  error?: MissingFile;
}

/** The value of a key while a component is shown; null: none is wanted. At once where the file was read before. */
export function useData<T>(key: string | null): Loaded<T> {
  const [, heard] = useState(0);
  const [failed, fail] = useState<{ key: string; error: MissingFile } | null>(null);
  const value = key === null ? undefined : peek<T>(key);
  useEffect(() => {
    if (key === null || peek(key) !== undefined) return;
    let current = true;
    load(key).then(
      () => current && heard((n) => n + 1),
      (error: MissingFile) => current && fail({ key, error }),
    );
    return () => void (current = false);
  }, [key]);
  if (value !== undefined) return { value };
  return failed && failed.key === key ? { error: failed.error } : {};
}

export const layerKey = (layer: Layer) => `layer:${layer.file}`;
export const useLayer = (layer: Layer | null) => useData<LayerData>(layer && layerKey(layer));
export const useUnits = (layer: Layer, channel: number) =>
  useData<UnitData[]>(`units:${layer.file}:${Math.floor(channel / layer.unit_chunk)}`);
export const useNames = () => useData<Names>("ids");
export const useChunk = (number: number | null) => useData<PictureChunk>(number === null ? null : `pictures:${number}`);
export const useMap = (layer: Layer) => useData<MapData>(layer.map ? `map:${layer.file}` : null);

/** The index, which main.tsx checks before anything asks for it. */
export const index = () => peek<Index>("index")!;
export const readable = (found: Index) => found.schema === SCHEMA;
/** Do these pages come from `tapetum atlas serve`, which can also look at other pictures? */
export const served = () => document.querySelector<HTMLMetaElement>('meta[name="tapetum-served"]')?.content === "1";

/** Reads many files, a few at a time; `heard` gets how many are there. Refuses with the first that is missing. */
export async function loadAll(keys: string[], heard: (done: number) => void): Promise<void> {
  let next = 0;
  let done = 0;
  const worker = async () => {
    while (next < keys.length) {
      await load(keys[next++]!);
      heard(++done);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}
