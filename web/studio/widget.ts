// The studio in a notebook: the same page, in a frame that may ask nothing of anybody. Its requests are messages of the widget, over
// the notebook's own connection; its script and styles, too, come from Python this way.

import { Exchanges, random, type Model } from "./exchanges";

const PATIENCE_MS = 8000;
const WAITING = "Python does not answer yet. If it is busy, the studio opens afterwards; if it was restarted, run the cell again.";

const policy = (nonce: string) =>
  `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src blob: data:; base-uri 'none'; form-action 'none'`;

const skeleton = (nonce: string) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy(nonce)}">` +
  '<meta name="color-scheme" content="light dark"><title>tapetum studio</title></head><body><div id="studio"></div></body></html>';

/** Is what lies behind an element dark? The page then is, too: notebooks have themes of their own. */
function darkBehind(element: Element | null): boolean {
  for (let at = element; at; at = at.parentElement ?? (at.getRootNode() as ShadowRoot).host ?? null) {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (alpha > 0.5) return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Shows the page in dark or light colours, whatever the system prefers. */
function colour(page: Document, dark: boolean): void {
  page.documentElement.style.colorScheme = dark ? "dark" : "light";
  for (const { cssRules } of page.styleSheets) {
    for (const rule of cssRules) {
      const media = (rule as CSSMediaRule).media?.mediaText ?? "";
      if (/prefers-color-scheme|^(not )?all$/.test(media)) (rule as CSSMediaRule).media.mediaText = dark ? "all" : "not all";
    }
  }
}

async function open(frame: HTMLIFrameElement, model: Model, nonce: string): Promise<void> {
  const view = frame.contentWindow as Window & typeof globalThis;
  const { document: page } = view;
  const root = page.getElementById("studio")!;
  const exchanges = new Exchanges(model, view);
  view.addEventListener("pagehide", exchanges.leave);
  const late = setTimeout(() => (root.textContent = WAITING), PATIENCE_MS);
  const [styles, script] = await Promise.all(
    ["studio.css", "studio.js"].map((name) => exchanges.fetch(name).then((reply) => reply.text())),
  );
  clearTimeout(late);
  root.textContent = "";
  let saving: ReturnType<typeof setTimeout> | undefined;
  view.tapetumHost = {
    fetch: exchanges.fetch,
    address: String(model.get("address") ?? ""),
    keep(address) {
      model.set("address", address);
      clearTimeout(saving);
      saving = setTimeout(() => model.save_changes(), 500);
    },
  };
  for (const [tag, text] of [
    ["style", styles],
    ["script", script],
  ] as const) {
    const element = page.createElement(tag);
    element.nonce = nonce;
    element.textContent = text!;
    (tag === "style" ? page.head : page.body).append(element);
    if (tag === "style") colour(page, darkBehind(frame.parentElement));
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const frame = document.createElement("iframe");
  const nonce = random();
  frame.title = "tapetum studio";
  frame.allow = "camera; clipboard-write; fullscreen";
  frame.style.cssText = `display: block; width: 100%; height: ${Number(model.get("height_px"))}px; min-height: 20rem; border: 0; resize: vertical; overflow: hidden`;
  frame.srcdoc = skeleton(nonce);
  frame.addEventListener("load", () => void open(frame, model, nonce));
  el.append(frame);
  const themes = new MutationObserver(() => frame.contentDocument && colour(frame.contentDocument, darkBehind(el)));
  for (const element of [document.documentElement, document.body]) themes.observe(element, { attributes: true });
  return () => (themes.disconnect(), frame.remove());
}

export default { render };
