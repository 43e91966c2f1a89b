// Requests as messages of a widget: the other side of src/tapetum/studios/messages.py, which says what they hold.

/** What anywidget gives a module of the widget's model. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown, callbacks?: unknown, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
  on(name: string, heard: (...given: never[]) => void): void;
  off(name: string, heard: (...given: never[]) => void): void;
}

interface Told {
  id: string;
  status?: number;
  headers?: Record<string, string>;
  more: boolean;
}

// Kernels drop connections over which a message of ten megabytes comes.
const PIECE_BYTES = 1_000_000;

export const random = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("");

/** The requests of one frame; their answers are objects of the frame's own window. */
export class Exchanges {
  private readonly open = new Map<string, (told: Told, piece: DataView | undefined) => void>();
  private readonly name = random();
  private count = 0;

  constructor(
    private readonly model: Model,
    private readonly view: Window & typeof globalThis,
  ) {
    model.on("msg:custom", this.hear);
  }

  readonly hear = (told: Told, pieces: DataView[]): void => this.open.get(told.id)?.(told, pieces[0]);

  /** Asks as `fetch` does. */
  readonly fetch = async (path: string, { method = "GET", headers = {}, body = null, signal }: RequestInit = {}): Promise<Response> => {
    const bytes = new Uint8Array(await new this.view.Response(body).arrayBuffer());
    const id = `${this.name}-${this.count++}`;
    return new Promise((resolve, reject) => {
      let into: ReadableStreamDefaultController<Uint8Array> | undefined;
      const leave = () => this.open.delete(id) && this.model.send({ id, do: "gone" });
      const stop = () => {
        leave();
        const error = new this.view.DOMException("stopped", "AbortError");
        into?.error(error);
        reject(error);
      };
      if (signal?.aborted) return stop();
      signal?.addEventListener("abort", () => this.open.has(id) && stop());
      this.open.set(id, (told, piece) => {
        if (told.status !== undefined) {
          const stream = new this.view.ReadableStream<Uint8Array>({
            start: (control) => void (into = control),
            cancel: () => void leave(),
          });
          const empty = told.status === 204 || told.status === 304;
          resolve(new this.view.Response(empty ? null : stream, { status: told.status, headers: told.headers ?? {} }));
        }
        if (piece?.byteLength) into?.enqueue(new this.view.Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength).slice());
        if (told.more) return this.model.send({ id, do: "got" });
        this.open.delete(id);
        into?.close();
      });
      this.ask(id, { method, path, headers: { ...headers, "Content-Length": String(bytes.length) } }, bytes);
    });
  };

  private ask(id: string, request: object, bytes: Uint8Array<ArrayBuffer>): void {
    for (let at = 0; at === 0 || at < bytes.length; at += PIECE_BYTES) {
      const more = at + PIECE_BYTES < bytes.length;
      this.model.send({ id, more, ...(at ? { do: "body" } : { do: "ask", ...request }) }, undefined, [
        bytes.slice(at, at + PIECE_BYTES).buffer,
      ]);
    }
  }

  /** Says that nobody reads any answer any more. */
  readonly leave = (): void => {
    for (const id of [...this.open.keys()]) this.model.send({ id, do: "gone" });
    this.open.clear();
    this.model.off("msg:custom", this.hear);
  };
}
