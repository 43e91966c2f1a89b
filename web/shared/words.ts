// Numbers and words as people read them.

/** Three significant digits, a true minus sign, a dash for what is not finite. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(1) : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
  return text.replaceAll("-", "−");
}

/** 0.347 as 34.7 %. */
export const percent = (share: number | null | undefined) =>
  share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`;

/** 20000 as 20,000. */
export const count = (value: number) => value.toLocaleString("en-US");

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export const plural = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Does a text hold all words of a query, whatever their case? */
export function holds(text: string, query: string): boolean {
  const low = text.toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => low.includes(word));
}
