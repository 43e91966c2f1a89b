// Requests to the studio's server: JSON, streams of events, pictures.

import { host } from "./host";
import type { About, Events, Method, Picture } from "./types";

/** A refusal of the server, in its words. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly kind: string,
    readonly status: number,
  ) {
    super(message);
  }
}

function random(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}

/** A value kept in the browser; where that is forbidden, for as long as the page is open. */
export function kept(storage: "localStorage" | "sessionStorage", name: string, value?: string): string | null {
  try {
    if (value !== undefined) window[storage].setItem(name, value);
    return window[storage].getItem(name);
  } catch {
    return value ?? null;
  }
}

const client = kept("localStorage", "tapetum-client") ?? kept("localStorage", "tapetum-client", random())!;

/** The token of the address, which is taken out of it at once: addresses are shared. */
function tokenOfAddress(): string | null {
  const search = new URLSearchParams(location.search);
  const [path = "", query = ""] = location.hash.split(/\?(.*)/s);
  const hash = new URLSearchParams(path.startsWith("#token=") ? path.slice(1) : query);
  const found = search.get("token") ?? hash.get("token");
  if (found === null) return null;
  search.delete("token");
  hash.delete("token");
  const rest = hash.toString();
  const fragment = path.startsWith("#token=") ? "" : path + (rest ? `?${rest}` : "");
  history.replaceState(history.state, "", location.pathname + (search.size ? `?${search}` : "") + fragment);
  return found;
}

let token = tokenOfAddress();
token = token === null ? kept("sessionStorage", "tapetum-token") : kept("sessionStorage", "tapetum-token", token);

export function useToken(text: string): void {
  token = kept("sessionStorage", "tapetum-token", text);
}

const headers = (more: Record<string, string> = {}) => ({
  "X-Tapetum-Client": client,
  ...(token ? { Authorization: `Bearer ${token}` } : {}),
  ...more,
});

async function refusal(reply: Response): Promise<Refused> {
  const text = await reply.text();
  try {
    const { message, kind } = JSON.parse(text) as { message: string; kind: string };
    return new Refused(message, kind, reply.status);
  } catch {
    return new Refused(text.slice(0, 300) || `The server answered ${reply.status}.`, "Failure", reply.status);
  }
}

/** A request; what is refused is thrown as `Refused`, also where nothing answers. */
async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  let reply: Response;
  try {
    const request = { ...options, headers: headers(options.headers as Record<string, string>) };
    reply = await (host ? host.fetch(`api/${path}`, request) : fetch(`api/${path}`, request));
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new Refused("The studio does not answer; is tapetum studio still running?", "Away", 0);
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

export const about = async () => (await ask("about")).json() as Promise<About>;
export const methods = async () => (await ask("methods")).json() as Promise<Method[]>;
export const blob = async (path: string) => (await ask(path)).blob();

export async function send(file: Blob, name: string): Promise<Picture> {
  return (await ask(`pictures?name=${encodeURIComponent(name)}`, { method: "POST", body: file })).json() as Promise<Picture>;
}

export async function steer(job: string, what: "pause" | "continue" | "stop"): Promise<void> {
  await ask(what === "stop" ? `jobs/${job}` : `jobs/${job}/${what}`, { method: what === "stop" ? "DELETE" : "POST" });
}

const json = (body: unknown) => ({ method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export const exported = async (body: unknown) => (await ask("export", json(body))).blob();

export type Heard = <K extends keyof Events>(name: K, data: Events[K]) => void;

/** Posts a question and hears the events of its answer; ends with the stream. */
export async function stream(path: string, body: unknown, heard: Heard, signal: AbortSignal): Promise<void> {
  const request = json(body);
  const reply = await ask(path, { ...request, signal, headers: { ...request.headers, Accept: "text/event-stream" } });
  const reader = reply.body!.getReader();
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error: Error) => {
      throw error.name === "AbortError" ? error : new Refused("The connection to the studio broke off; ask again.", "Away", 0);
    });
    if (done) return;
    held += decoder.decode(value, { stream: true });
    const blocks = held.split("\n\n");
    held = blocks.pop()!;
    for (const block of blocks) tell(block, heard);
  }
}

/** One event: "event: NAME" and "data: JSON"; comments only say that the server is alive. */
function tell(block: string, heard: Heard): void {
  let name = "";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name) heard(name as keyof Events, JSON.parse(data) as never);
}
