// Where the page lives: in a window of its own, or in a frame whose host carries its requests and keeps its address.

export interface Host {
  fetch(path: string, options: RequestInit): Promise<Response>;
  /** The state to begin with, "#/mattered?..."; "" for the start. */
  address: string;
  keep(address: string): void;
}

declare global {
  interface Window {
    tapetumHost?: Host;
  }
}

export const host: Host | undefined = window.tapetumHost;
