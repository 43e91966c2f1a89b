// Names of units, and which units a few words mean: those whose name or commonest label has them.

import type { LayerData } from "./format";

/** The words of a name or a query in small letters, without those of terms behind "AND NOT": such a unit is not for them. */
export const wordsOf = (name: string): string[] =>
  (name.replace(/ AND NOT .*?(?=\)| OR | AND |$)/g, "").match(/[\p{L}\p{N}'-]+/gu) ?? [])
    .filter((word) => word !== "OR" && word !== "AND")
    .map((word) => word.toLowerCase());

/** The share of the asked words, 0 ... 1, with which a word of a text begins. */
const share = (asked: string[], text: string) => {
  const words = wordsOf(text);
  return asked.length && asked.filter((one) => words.some((word) => word.startsWith(one))).length / asked.length;
};

export interface Near {
  /** How much of the query the unit's name or label has. */
  share: number;
  /** Of its name; 0 where the label alone has the words. */
  auc: number;
}

/** How near a unit is to the words of a query. */
export function nearness(data: LayerData, channel: number, asked: string[]): Near {
  const [name, auc] = data.names?.[channel] ?? ["", 0];
  const byName = share(asked, name);
  const byLabel = share(asked, data.labels?.[channel] ?? "");
  return byName && byName >= byLabel ? { share: byName, auc } : { share: byLabel, auc: 0 };
}
