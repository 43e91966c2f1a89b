// Jobs: a slot of the page asks a question at a time; a new question stops the old one's work, and its result stays until the next.

import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { Refused, send, steer, stream } from "./api";
import { keptFile } from "./kept";
import { store, type Store } from "./store";
import type { MapData } from "./canvas/maps";
import type { Ask, Events, Progress, Result } from "./types";

export type Phase = "none" | "waiting" | "queued" | "running" | "paused" | "done" | "refused" | "stopped";

export interface Run {
  phase: Phase;
  ask: Ask | null;
  /** The last result, which may answer an earlier question. */
  result: Result | null;
  answered: Ask | null;
  progress: Progress | null;
  /** Jobs that come first. */
  before: number;
  pictures: Events["picture"] | null;
  maps: MapData[] | null;
  message: string;
  begun: number;
  /** Seconds that the same took before. */
  seconds: number | null;
}

const NOTHING: Run = {
  phase: "none",
  ask: null,
  result: null,
  answered: null,
  progress: null,
  before: 0,
  pictures: null,
  maps: null,
  message: "",
  begun: 0,
  seconds: null,
};

interface Slot {
  run: Store<Run>;
  title: string;
  stop: (() => void) | null;
  /** The server's name of the job. */
  job: string;
  /** Pause was asked for before the job had a name. */
  pausing: boolean;
  /** Does it hold one of the streams? A job that stands still holds none. */
  counted: boolean;
}

const slots = new Map<string, Slot>();
const results = new Map<string, Result>();
const MOST_KEPT = 120;

export const keyOf = (ask: Ask) => JSON.stringify(ask);
export const busy = (run: Run) => run.phase === "waiting" || run.phase === "queued" || run.phase === "running" || run.phase === "paused";
/** Does a result answer what is asked now? */
export const fresh = (run: Run) => run.answered !== null && run.ask !== null && keyOf(run.answered) === keyOf(run.ask);

/** The result of a question that was answered before. */
export const known = (ask: Ask) => results.get(keyOf(ask));

/** Slots with work now; drawn in the strip at the bottom. */
export const running = store<string[]>([]);
/** Called with every result that was not there before. */
export const finished: ((title: string, ask: Ask, result: Result) => void)[] = [];

function slot(name: string): Slot {
  let found = slots.get(name);
  if (!found) slots.set(name, (found = { run: store(NOTHING), title: name, stop: null, job: "", pausing: false, counted: false }));
  return found;
}

export const runOf = (name: string) => slot(name).run.get();
export const titleOf = (name: string) => slot(name).title;

function update(name: string, patch: Partial<Run>): void {
  const one = slot(name);
  one.run.set({ ...one.run.get(), ...patch });
  const now = [...slots].filter(([, { run }]) => busy(run.get())).map(([key]) => key);
  if (now.join() !== running.get().join()) running.set(now);
}

// A browser holds six connections to a server: two are left for pictures and for what is quick.
const MOST_STREAMS = 4;
let streams = 0;
const waiting: (() => void)[] = [];

function turn(one: Slot, quick: boolean, signal: AbortSignal): Promise<void> {
  if (quick || streams < MOST_STREAMS) return (count(one, true), Promise.resolve());
  return new Promise((resolve, reject) => {
    const begin = () => (count(one, true), resolve());
    waiting.push(begin);
    signal.addEventListener("abort", () => {
      const place = waiting.indexOf(begin);
      if (place >= 0) reject((waiting.splice(place, 1), new DOMException("stopped", "AbortError")));
    });
  });
}

/** Takes or gives back a slot's stream; the next that waits gets it. */
function count(one: Slot, counted: boolean): void {
  if (one.counted === counted) return;
  one.counted = counted;
  streams += counted ? 1 : -1;
  if (streams < MOST_STREAMS) waiting.shift()?.();
}

/** Sends dropped pictures again that the server has forgotten. */
async function sendAgain(pictures: string[]): Promise<boolean> {
  const files = await Promise.all(pictures.map(keptFile));
  const found = files.filter((file) => file !== undefined);
  await Promise.all(found.map(({ file, name }) => send(file, name)));
  return found.length > 0;
}

function keep(ask: Ask, result: Result): void {
  results.set(keyOf(ask), result);
  if (results.size > MOST_KEPT) results.delete(results.keys().next().value!);
}

export interface Options {
  title?: string;
  /** Answered within a moment: it need not wait for the streams of others. */
  quick?: boolean;
  /** Live pictures, or maps so far. */
  live?: boolean;
}

/** Asks a question; what the slot was working on stops. */
export function start(name: string, ask: Ask, options: Options = {}): void {
  const one = slot(name);
  one.stop?.();
  count(one, false);
  one.title = options.title ?? name;
  one.job = "";
  one.pausing = false;
  const clean = { ask, progress: null, before: 0, pictures: null, maps: null, message: "", begun: performance.now(), seconds: null };
  const before = known(ask);
  if (before) return update(name, { ...clean, phase: "done", result: before, answered: ask });
  const control = new AbortController();
  one.stop = () => control.abort();
  const own = () => one.stop !== null && !control.signal.aborted;
  const tell = (patch: Partial<Run>) => own() && update(name, patch);
  const heard = <K extends keyof Events>(event: K, data: Events[K]) => {
    if (!own()) return;
    if (event === "queued") {
      const { job, before: first } = data as Events["queued"];
      one.job = job;
      tell({ phase: "queued", before: first });
      if (one.pausing) pause(name);
    } else if (event === "started") tell({ phase: "running", before: 0, seconds: (data as Events["started"]).seconds });
    else if (event === "progress")
      tell({ phase: runOf(name).phase === "paused" ? "paused" : "running", progress: { ...runOf(name).progress, ...(data as Progress) } });
    else if (event === "picture") tell({ pictures: data as Events["picture"] });
    else if (event === "map") tell({ maps: (data as Events["map"]).maps });
    else if (event === "result") {
      const result = data as Result;
      keep(ask, result);
      tell({ phase: "done", result, answered: ask, progress: null });
      for (const hear of finished) hear(one.title, ask, result);
    } else if (event === "refused") throw new Refused((data as Events["refused"]).message, (data as Events["refused"]).kind, 400);
    else if (event === "stopped") tell({ phase: "stopped", message: (data as Events["stopped"]).message });
  };
  update(name, { ...clean, phase: "waiting" });
  void work(one, ask, options, heard, control.signal).then(
    () => busy(runOf(name)) && tell({ phase: "refused", message: "The studio ended the answer half-way; ask again." }),
    (error: Error) => error.name !== "AbortError" && tell({ phase: "refused", message: error.message }),
  );
}

async function work(
  one: Slot,
  ask: Ask,
  { quick = false, live = false }: Options,
  heard: <K extends keyof Events>(event: K, data: Events[K]) => void,
  signal: AbortSignal,
): Promise<void> {
  await turn(one, quick, signal);
  const body = { ...ask, pictures_every_s: live ? 0.25 : null };
  try {
    await stream("run", body, heard, signal);
  } catch (error) {
    const forgotten = error instanceof Refused && error.kind === "NoSuchPicture";
    if (!forgotten || !(await sendAgain(ask.pictures))) throw error;
    await stream("run", body, heard, signal);
  } finally {
    if (!signal.aborted) count(one, false);
  }
}

/** Stops a slot's work; what it has shown stays. */
export function stop(name: string): void {
  const one = slot(name);
  one.stop?.();
  count(one, false);
  if (busy(one.run.get())) update(name, { phase: "stopped", progress: null, message: "stopped" });
}

export function pause(name: string): void {
  const one = slot(name);
  one.pausing = one.job === "";
  update(name, { phase: "paused" });
  count(one, false);
  if (one.job) steer(one.job, "pause").catch((error: Error) => update(name, { phase: "running", message: error.message }));
}

export function goOn(name: string): void {
  const one = slot(name);
  one.pausing = false;
  update(name, { phase: "running" });
  count(one, true);
  if (one.job) steer(one.job, "continue").catch((error: Error) => update(name, { phase: "refused", message: error.message }));
}

export interface Wanted {
  slot: string;
  ask: Ask | null;
  options?: Options & { hold?: boolean };
}

/**
 * The runs of several slots; each asks as soon as its question is another. Work goes on when the component is gone: its result
 * lands in the history. `hold`: the question waits for a button.
 */
export function useRuns(wanted: Wanted[]): Run[] {
  const [, again] = useState(0);
  const names = wanted.map(({ slot }) => slot).join("\n");
  const key = wanted.map(({ ask, options }) => (ask && !options?.hold ? keyOf(ask) : "")).join("\n");
  useLayoutEffect(() => {
    const draw = () => again((n) => n + 1);
    const ends = wanted.map((one) => slot(one.slot).run.follow(draw));
    draw();
    return () => ends.forEach((end) => end());
  }, [names]);
  useEffect(() => {
    for (const { slot: name, ask, options = {} } of wanted) {
      const last = runOf(name);
      if (ask && !options.hold && !(last.ask && keyOf(last.ask) === keyOf(ask))) start(name, ask, options);
    }
  }, [names, key]);
  return wanted.map((one) => runOf(one.slot));
}

export const useRun = (name: string, ask: Ask | null, options: Options & { hold?: boolean } = {}): Run =>
  useRuns([{ slot: name, ask, options }])[0]!;
