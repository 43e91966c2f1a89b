// Addresses are hashes, so that a file:// page can be linked into: #/unit/blocks.3.0:5

import { useEffect, useState } from "preact/hooks";

export interface Route {
  page: string;
  /** What follows the page's name, decoded. */
  rest: string;
  params: URLSearchParams;
}

const decode = (text: string) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % in a link written by hand
  }
};

/** "#/layer/blocks.3.0?sort=sd" as page, rest and parameters. */
export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const cut = path.indexOf("/");
  const page = cut < 0 ? path : path.slice(0, cut);
  return { page, rest: cut < 0 ? "" : decode(path.slice(cut + 1)), params: new URLSearchParams(query) };
}

// Letters that a fragment may hold stay as they are: links are read by people.
const encode = (text: string) => encodeURIComponent(text).replace(/%(3A|40|2C|24)/g, (code) => decode(code));

export const href = {
  home: () => "#/",
  layer: (name: string) => `#/layer/${encode(name)}`,
  unit: (name: string, channel: number) => `#/unit/${encode(name)}:${channel}`,
  pictures: () => "#/pictures",
  picture: (id: string) => `#/picture/${encodeURIComponent(id)}`,
  map: (name: string) => `#/map/${encode(name)}`,
  search: (query: string) => `#/search/${encodeURIComponent(query)}`,
};

// Each entry of the history keeps where it was scrolled to.
const scrolled = new Map<number, number>();
let entry = 0;
let entries = 0;

function enter(): boolean {
  const known = history.state?.entry as number | undefined;
  entry = known ?? ++entries;
  entries = Math.max(entries, entry);
  if (known === undefined) history.replaceState({ entry }, "");
  return known !== undefined;
}

/** The address as it is now. After a step back or forth the page is scrolled to where it was. */
export function useRoute(): Route {
  const [route, set] = useState(() => parse(location.hash));
  useEffect(() => {
    history.scrollRestoration = "manual";
    enter();
    const keep = () => scrolled.set(entry, window.scrollY);
    const go = () => {
      const back = enter();
      const to = back ? (scrolled.get(entry) ?? 0) : 0;
      set(parse(location.hash));
      requestAnimationFrame(() => window.scrollTo(0, to));
    };
    addEventListener("scroll", keep, { passive: true });
    addEventListener("hashchange", go);
    return () => {
      removeEventListener("scroll", keep);
      removeEventListener("hashchange", go);
    };
  }, []);
  return route;
}

/**
 * Writes parameters into the address without a new entry in the history; empty ones are left out.
 * Call it in a layout effect: a page reloaded as soon as it shows a choice must have it in its address.
 */
export function remember(params: Record<string, string>): void {
  const [path = ""] = location.hash.split("?");
  const kept = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== ""));
  const query = kept.toString();
  try {
    history.replaceState(history.state, "", (path || "#/") + (query ? `?${query}` : ""));
  } catch {
    // Safari allows a hundred a half minute; the address then says what was a moment ago
  }
}
