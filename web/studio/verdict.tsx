// Does a map hold? Verdicts as badges, sentences, and places among random maps.

import { number } from "../shared/words";
import type { Verdict } from "./types";

const BADGES: Record<string, string> = {
  stands: "stands",
  random: "as random maps",
  edges: "as edges",
  centre: "as a blob",
  no_range: "cannot be tested",
  improbable: "cannot be tested",
  no_positive_evidence: "no evidence",
  constant: "constant",
  non_finite: "not a number",
};

/** The sentence, without what the badge says already. */
export const plainly = ({ words }: Verdict) => words.replace(/^cannot be tested: /, "");

export function Badge({ verdict }: { verdict: Verdict }) {
  const kind = verdict.stands ? "stands" : verdict.tested ? "falls" : "untested";
  return (
    <span class={`badge ${kind}`} title={verdict.short}>
      {BADGES[verdict.outcome] ?? verdict.outcome}
    </span>
  );
}

const finite = (values: (number | null)[]) => values.filter((one): one is number => one !== null);

/** One line: random maps as ticks, the picture's edges and a blob as marks, the map as a bar. */
export function Strip({ verdict }: { verdict: Verdict }) {
  const nulls = finite(verdict.null);
  const marks: [string, number | null, string][] = [
    ["edges", verdict.edges, "the picture's edges"],
    ["blob", verdict.centre, "a blob in the middle"],
  ];
  const all = [...nulls, ...finite([verdict.faithfulness, verdict.edges, verdict.centre]), 0];
  const [low, high] = [Math.min(...all), Math.max(...all, 0.1)];
  const at = (value: number) => 4 + (192 * (value - low)) / (high - low || 1);
  if (verdict.faithfulness === null) return null;
  const words = `This map ${number(verdict.faithfulness)}; random maps ${number(Math.min(...nulls))} to ${number(Math.max(...nulls))}; edges ${number(verdict.edges)}; a blob ${number(verdict.centre)}.`;
  return (
    <figure class="strip">
      <svg viewBox="0 0 200 34" role="img" aria-label={words} preserveAspectRatio="none">
        <line x1="0" x2="200" y1="22" y2="22" class="axis-line" />
        {nulls.map((value, i) => (
          <line key={i} x1={at(value)} x2={at(value)} y1="17" y2="27" class="dot" />
        ))}
        {marks.map(
          ([name, value]) => value !== null && <line key={name} x1={at(value)} x2={at(value)} y1="14" y2="30" class={`mark-${name}`} />,
        )}
        <line x1={at(verdict.faithfulness)} x2={at(verdict.faithfulness)} y1="6" y2="32" class="mark-own" />
      </svg>
      <figcaption class="note">
        <span class="key own">this map {number(verdict.faithfulness)}</span> <span class="key dots">random maps</span>{" "}
        <span class="key edges">edges {number(verdict.edges)}</span> <span class="key blob">blob {number(verdict.centre)}</span>
      </figcaption>
    </figure>
  );
}

/** What a verdict tests. */
export const HOLDS =
  "A map holds if the places that it ranks highest bring the answer back sooner when they are shown, and take it away sooner when they are " +
  "hidden, than those of random maps, of the picture's edges and of a blob in the middle";

const chance = (p: number) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

export function Hold({ verdict, open = false }: { verdict: Verdict; open?: boolean }) {
  return (
    <details class="hold" open={open}>
      <summary>
        <Badge verdict={verdict} /> <span>{plainly(verdict)}</span>
      </summary>
      <Strip verdict={verdict} />
      {verdict.tested && (
        <p class="note">
          {HOLDS}
          {verdict.p_value !== null && (
            <>
              ; {chance(verdict.p_value)}
              {verdict.tried > 1 && <>, corrected for {verdict.tried} maps</>}
            </>
          )}
          .
        </p>
      )}
    </details>
  );
}

/** All verdicts as a table. */
export function Verdicts({ rows, title }: { rows: Verdict[]; title: (verdict: Verdict) => string }) {
  return (
    <ul class="verdicts">
      {rows.map((verdict, i) => (
        <li key={i}>
          <h4>{title(verdict)}</h4>
          <div>
            <Badge verdict={verdict} /> <span class="note">{plainly(verdict)}</span>
          </div>
          <Strip verdict={verdict} />
        </li>
      ))}
    </ul>
  );
}
