// The page's state in its address: "#/page/rest?name=value".

export interface Route {
  page: string;
  /** What follows the page's name, decoded. */
  rest: string;
  params: URLSearchParams;
}

export const decode = (text: string) => {
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
