// Is this the circuit? Three tests in plain words, and the curve of what the strongest edges keep of the score.

import { circuit, type Curve } from "./format";

const QUESTIONS: Record<string, string> = {
  equivalence: "Does the circuit alone score as the network does?",
  independence: "Does what is left out say nothing of the score?",
  minimality: "Is every edge needed?",
};

export function Trust() {
  const told = circuit.edges.filter((edge) => edge.confirmed !== null);
  const untold = circuit.edges.length - told.length;
  return (
    <section class="trust">
      <h2>Can it be trusted?</h2>
      <p>
        {told.length > 0 && `${told.filter((edge) => edge.confirmed).length} of ${told.length} edges are confirmed by taking the source away: the
        target changes in the direction of the weight, by more than for each of 19 random nodes, and the interval over the images leaves zero out. `}
        {untold > 0 && `Of ${told.length ? untold : "no edge"} it ${told.length ? "cannot" : "can"} be told whether taking the source away confirms
        it: fewer than 19 other nodes reach the target.`}
      </p>
      {circuit.tests.length > 0 && (
        <dl class="tests">
          {circuit.tests.map((test) => (
            <div class={test.passed === null ? "" : test.passed ? "holds" : "fails"}>
              <dt>{QUESTIONS[test.name] ?? test.name}</dt>
              <dd><strong>{test.outcome}</strong> ({test.name}{test.passed !== null && `, p = ${Number(test.p_value.toPrecision(2))}`}): {test.words}.</dd>
            </div>
          ))}
        </dl>
      )}
      {circuit.faithfulness ? <Kept curve={circuit.faithfulness} /> : <p class="note">The circuit as a whole was not run alone: it was made with test=False.</p>}
      {circuit.notes.map((note) => <p class="note">{note}</p>)}
    </section>
  );
}

const [W, H, LEFT, TOP, LOW, HIGH] = [420, 190, 46, 10, -0.25, 1.1];

function Kept({ curve }: { curve: Curve }) {
  const last = Math.log(curve.edges.at(-1)! + 1);
  const x = (k: number) => LEFT + ((W - LEFT - 10) * Math.log(k + 1)) / last;
  const y = (share: number) => TOP + ((H - TOP - 30) * (HIGH - Math.max(LOW, Math.min(HIGH, share)))) / (HIGH - LOW);
  const mean = curve.edges.map((_, i) => {
    const known = curve.random.map((one) => one[i]).filter((one): one is number => typeof one === "number");
    return known.length ? known.reduce((a, b) => a + b) / known.length : null;
  });
  const lines: [string, string, (number | null)[]][] = [
    ...Object.entries(curve.kept).map(([kind, kept]): [string, string, (number | null)[]] => [`this circuit, ${kind}`, kind, kept]),
    ["random edges", "random", mean],
    ["edges of the largest outputs", "magnitude", curve.magnitude],
  ];
  const end = (kept: (number | null)[]) => (typeof kept.at(-1) === "number" ? `${Math.round(100 * kept.at(-1)!)} %` : "–");
  const path = (kept: (number | null)[]) =>
    kept.map((one, i) => (one === null ? "" : `${i && kept[i - 1] !== null ? "L" : "M"}${x(curve.edges[i]!).toFixed(1)} ${y(one).toFixed(1)}`)).join("");
  return (
    <figure class="curve">
      <svg viewBox={`0 0 ${W} ${H}`} role="img" aria-label={`Share of the score that ${curve.edges.at(-1)} edges keep: ${lines.map(([name, , kept]) => `${name} ${end(kept)}`).join(", ")}`}>
        {[0, 0.5, 1].map((share) => <g><path class="grid" d={`M${LEFT} ${y(share)}H${W - 10}`} /><text x={LEFT - 6} y={y(share) + 4} text-anchor="end">{share * 100} %</text></g>)}
        {curve.edges.map((k) => <text x={x(k)} y={H - 14} text-anchor="middle">{k}</text>)}
        <text x={(W + LEFT) / 2} y={H - 1} text-anchor="middle">edges</text>
        {lines.map(([, kind, kept]) => <path class={`kept ${kind}`} d={path(kept)} />)}
      </svg>
      <figcaption>
        <p>How much of the score the strongest edges keep when all other nodes are replaced: 100 % is the whole network, 0 % the network without any node.</p>
        <ul class="key">{lines.map(([name, kind, kept]) => <li><svg width="24" height="8" aria-hidden="true"><path class={`kept ${kind}`} d="M0 4H24" /></svg>{name}: {end(kept)}</li>)}</ul>
      </figcaption>
    </figure>
  );
}
