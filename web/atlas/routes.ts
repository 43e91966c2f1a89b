// Addresses are hashes, so that a file:// page can be linked into: #/unit/blocks.3.0:5

import { useEffect, useState } from "preact/hooks";
import { decode, parse, type Route } from "../shared/address";

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
