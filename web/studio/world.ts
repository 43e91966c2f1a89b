// What the server has: methods, models, pictures; each is asked for once.

import { useEffect, useState } from "preact/hooks";
import { capital } from "../shared/words";
import * as api from "./api";
import { pixelsOf } from "./canvas/pixels";
import { host } from "./host";
import { dropFile, keepFile, keptFile, keptIds } from "./kept";
import { finished } from "./jobs";
import { change, modelKey, modelOf, state, usual } from "./state";
import { store } from "./store";
import type { About, Method, Model, Picture, Progress } from "./types";

export const about = store<About | null>(null);
export const methods = store<Method[]>([]);
/** The packaged photographs by name, and the person's own by id. */
export const shelf = store<(Picture & { credit?: string; own?: boolean })[]>([]);
export const said = store<{ text: string; wrong: boolean } | null>(null);

export const say = (text: string, wrong = false) => said.set({ text, wrong });

export const methodOf = (name: string) => methods.get().find((one) => one.name === name);
const ABBREVIATIONS = new Set(["cam", "lrp", "rise", "lime", "shap", "xrai", "hsic", "fem", "ss", "is", "kpca", "pgd", "fgsm", "road"]);

/** A method's name as people write it: "grad_cam" as "Grad-CAM". */
export function titleOf(name: string): string {
  const words = (methodOf(name)?.title ?? name.replaceAll("_", " "))
    .split(" ")
    .map((word) => (ABBREVIATIONS.has(word) ? word.toUpperCase() : word));
  return capital(words.join(" ").replaceAll(" CAM", "-CAM").replaceAll("plus plus", "++").replace("-CAM ++", "-CAM++"));
}

// --- models

export interface Known {
  model: Model | null;
  progress: Progress | null;
  message: string;
}

const models = store<Record<string, Known>>({});

/** Models that have answered: what they saw of a picture can be asked for. */
const awake = store<Set<string>>(new Set());
const wake = (key: string) => awake.get().has(key) || awake.set(new Set([...awake.get(), key]));
finished.push((_title, ask) => wake(modelKey(ask.model, ask.weights)));

function learn(key: string): void {
  const set = (patch: Partial<Known>) => models.set({ ...models.get(), [key]: { ...models.get()[key]!, ...patch } });
  models.set({ ...models.get(), [key]: { model: null, progress: null, message: "" } });
  const { model: name, weights } = modelOf(key);
  const heard: api.Heard = (event, data) => {
    if (event === "result") {
      wake(key);
      set({ model: data as Model });
    } else if (event === "progress") set({ progress: data as Progress });
    else if (event === "refused") set({ message: (data as { message: string }).message });
  };
  api.stream("model", { name, weights }, heard, new AbortController().signal).catch((error: Error) => set({ message: error.message }));
}

/** What is known of a model; null: none is wanted. */
export function useModel(key: string): Known | null {
  const all = models.use();
  useEffect(() => void (key && !models.get()[key] && learn(key)), [key]);
  return key ? (all[key] ?? null) : null;
}

/** Why a model cannot be had. */
export const modelRefused = (key: string) => models.get()[key]?.message ?? "";
export const modelNow = (key: string) => models.get()[key]?.model ?? null;

// --- pictures

/** The id of a picture that the address names: a packaged photograph's name, or an id. */
export const idOf = (name: string) => pictureOf(name)?.id ?? (/^[0-9a-f]{64}$/.test(name) ? name : "");
export const pictureOf = (name: string) => shelf.get().find((one) => one.name === name || one.id === name);
/** How a picture is named in the address. */
export const nameOf = (picture: Picture & { own?: boolean }) => (picture.own ? picture.id : picture.name);

/** Adds pictures of the person's: they are shown at once, kept in the browser, and sent. */
export async function add(files: (File | Blob)[], show = true): Promise<Picture[]> {
  const limit = about.get()?.limits.picture_bytes ?? Infinity;
  const sent: Picture[] = [];
  for (const file of files) {
    const name = file instanceof File ? file.name : "pasted picture";
    if (file.size > limit) {
      say(`${name} has ${Math.round(file.size / 1e6)} MB; pictures of at most ${Math.round(limit / 1e6)} MB are read.`, true);
      continue;
    }
    try {
      say(`Sending ${name} …`);
      const picture = await api.send(file, name);
      await keepFile(picture.id, { file, name: picture.name, thumbnail: picture.thumbnail, width: picture.width, height: picture.height });
      if (show) shelf.set([...shelf.get().filter((one) => one.id !== picture.id), { ...picture, own: true }]);
      sent.push(picture);
      said.set(null);
    } catch (error) {
      const { message } = error as Error;
      say(message.startsWith(name) ? message : `${name}: ${message}`, true);
    }
  }
  if (show && sent.length) change({ pictures: sent.map((one) => one.id).slice(0, 6), edited: "" }, true);
  return sent;
}

export function remove(id: string): void {
  void dropFile(id);
  shelf.set(shelf.get().filter((one) => one.id !== id));
  const pictures = state.get().pictures.filter((one) => one !== id);
  change({ pictures: pictures.length ? pictures : [shelf.get()[0]?.name ?? ""] });
}

/** The person's own pictures from the browser; those made by edits stay out of the shelf. */
async function ownPictures(): Promise<Picture[]> {
  const ids = await keptIds();
  const files = await Promise.all(ids.map(keptFile));
  return ids.flatMap((id, i) => {
    const kept = files[i];
    return kept && kept.thumbnail
      ? [{ id, name: kept.name, thumbnail: kept.thumbnail, width: kept.width, height: kept.height, own: true }]
      : [];
  });
}

const pixels = new Map<string, Promise<ImageData>>();

/** The pixels behind an address of the server, asked for once. */
function read(path: string, ids: string[]): Promise<ImageData> {
  let promise = pixels.get(path);
  if (!promise) {
    const asked = () => api.blob(path).then((blob) => pixelsOf(blob));
    promise = asked().catch(async (error: api.Refused) => {
      const kept = error.status === 404 ? await keptFile(ids[0]!) : undefined;
      if (!kept) throw error;
      await api.send(kept.file, kept.name);
      return asked();
    });
    pixels.set(path, promise);
    promise.catch(() => pixels.delete(path));
    if (pixels.size > 40) pixels.delete(pixels.keys().next().value!);
  }
  return promise;
}

function usePixels(path: string | null, id: string): ImageData | null {
  const [found, set] = useState<{ path: string; image: ImageData } | null>(null);
  useEffect(() => {
    if (path === null) return;
    let wanted = true;
    read(path, [id]).then(
      (image) => wanted && set({ path, image }),
      (error: Error) => wanted && say(error.message, true),
    );
    return () => void (wanted = false);
  }, [path]);
  return found && found.path === path ? found.image : null;
}

/** What a model saw of a picture. */
export function useSeen(id: string, model: string): ImageData | null {
  const { model: name, weights } = modelOf(model);
  const ready = awake.use().has(model);
  return usePixels(id && ready ? `pictures/${id}/seen?model=${encodeURIComponent(name)}&weights=${weights}` : null, id);
}

/** A picture as a person sees it. */
export const useWhole = (id: string, side: number) => usePixels(id ? `pictures/${id}?side=${side}` : null, id);

// --- the start

/** Asks what the server has; what the address leaves open is filled in. */
export async function begin(): Promise<void> {
  const found = await api.about();
  about.set(host ? { ...found, atlas: null, reports: [] } : found); // a frame without an address reaches no other pages
  if (found.token) return;
  const asked = api.methods();
  asked.catch(() => undefined);
  const samples = found.samples.map((one) => ({ ...one, name: one.sample }));
  shelf.set([...samples, ...(await ownPictures())]);
  usual.model = found.first;
  usual.pictures = samples.slice(0, 1).map((one) => one.name);
  change({});
  methods.set(await asked);
}
