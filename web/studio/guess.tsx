// Guess what the unit looks for: one of the photographs makes it fire; which one?

import { useEffect, useState } from "preact/hooks";
import { plural } from "../shared/words";
import { askOf, visualizeAsk } from "./asks";
import { MapView } from "./canvas/mapview";
import { kept } from "./api";
import { start, useRun, type Run } from "./jobs";
import { Live } from "./live";
import { keyOfModel } from "./results";
import { state, START } from "./state";
import { useView } from "./view";
import type { Channels } from "./types";
import { about, pictureOf, useModel, useSeen } from "./world";
import { Working } from "./working";

interface Round {
  layer: string;
  channel: number;
  /** Which of the photographs. */
  answer: number;
}

/** Units that stand out in one photograph and in no other, of all layers. */
function rounds(layers: Channels[]): Round[] {
  return layers.flatMap(({ layer, pictures }) =>
    pictures.flatMap((channels, answer) =>
      channels
        .filter(({ channel }) => pictures.every((others, i) => i === answer || others.every((one) => one.channel !== channel)))
        .map(({ channel }) => ({ layer, channel, answer })),
    ),
  );
}

const any = <T,>(from: T[]): T | null => from[Math.floor(Math.random() * from.length)] ?? null;
const score = () => (kept("localStorage", "tapetum-guesses") ?? "0/0").split("/").map(Number) as [number, number];

function count(right: boolean): void {
  const [won, played] = score();
  kept("localStorage", "tapetum-guesses", `${won + Number(right)}/${played + 1}`);
}

export function Guess() {
  const [on, set] = useState(false);
  if (!on)
    return (
      <p class="game-offer">
        <button type="button" onClick={() => set(true)}>
          Play: guess what a unit looks for
        </button>
      </p>
    );
  return <Game close={() => set(false)} />;
}

function Game({ close }: { close: () => void }) {
  const { model: key } = state.use();
  const model = useModel(key)?.model ?? null;
  const pictures = (about.use()?.samples ?? []).slice(0, 4).map((one) => one.id);
  const layers = model?.usual.slice(1).join(",") ?? "";
  const ask = layers && pictures.length > 1 ? askOf(key, "activation_maps", { pictures, parameters: { layers, k: 6 } }) : null;
  const run = useRun("guess/maps", ask, { title: "Guess", quick: true });
  const maps = run.result?.value.type === "channels" ? run.result.value.layers : null;
  const [round, play] = useState<Round | null>(null);
  const [guess, choose] = useState<number | null>(null);
  const next = () => {
    choose(null);
    play(maps && any(rounds(maps)));
  };
  useEffect(() => {
    if (maps && !round) next();
  }, [maps]);
  const visual = useRun("guess/picture", null);
  useEffect(() => {
    if (round)
      start("guess/picture", visualizeAsk(key, { ...START.unit, layer: round.layer, channel: round.channel }, { n_steps: 128 }), {
        title: "Guess",
        live: true,
      });
  }, [round]);
  const take = (i: number) => {
    if (guess !== null || !round) return;
    choose(i);
    count(i === round.answer);
  };
  const [won, played] = score();
  return (
    <section class="game" aria-label="Guess what a unit looks for">
      <div class="row-of">
        <h3>Which photograph makes this unit fire?</h3>
        <button type="button" class="plain close" aria-label="Close the game" onClick={close}>
          ×
        </button>
      </div>
      <Working name="guess/maps" run={run} />
      {round && maps && (
        <div class="game-of">
          <Live
            slot="guess/picture"
            run={visual}
            ask={null}
            options={{ title: "Guess", live: true }}
            label="The picture that the hidden unit responds to"
          />
          <div>
            <ol class="guesses">
              {pictures.map((id, i) => (
                <li key={id} class={guess === null ? "" : i === round.answer ? "right" : i === guess ? "wrong" : ""}>
                  {guess !== null && i === round.answer ? (
                    <div class="fired">
                      <Fired run={run} round={round} />
                      <span class="name">{pictureOf(id)?.name}</span>
                    </div>
                  ) : (
                    <button
                      type="button"
                      aria-pressed={guess === i}
                      disabled={guess !== null}
                      onClick={() => take(i)}
                      aria-label={pictureOf(id)?.name ?? `photograph ${i + 1}`}
                    >
                      <img src={pictureOf(id)?.thumbnail} alt="" />
                      <span class="name">{pictureOf(id)?.name}</span>
                    </button>
                  )}
                </li>
              ))}
            </ol>
            <p aria-live="polite">
              {guess !== null &&
                (guess === round.answer ? (
                  <strong>Right. </strong>
                ) : (
                  <strong>No, it is the {pictureOf(pictures[round.answer]!)?.name}. </strong>
                ))}
              {guess !== null && (
                <>
                  It is {round.layer}:{round.channel}; the map shows where it fires. {won} of {plural(played, "guess", "guesses")}{" "}
                  right.{" "}
                </>
              )}
              {guess !== null && (
                <button type="button" class="strong" onClick={next}>
                  Another
                </button>
              )}
            </p>
          </div>
        </div>
      )}
    </section>
  );
}

function Fired({ run, round }: { run: Run; round: Round }) {
  const { opacity } = state.use();
  const [view, onView] = useView();
  const layers = run.result?.value.type === "channels" ? run.result.value.layers : [];
  const layer = layers.find((one) => one.layer === round.layer);
  const found = layer?.pictures[round.answer]?.find((one) => one.channel === round.channel);
  const photo = useSeen(run.answered!.pictures[round.answer]!, keyOfModel(run.answered!));
  if (!layer || !found) return null;
  return (
    <MapView
      photo={photo}
      map={found.map}
      reduce={layer.signed ? "sum" : "positive"}
      size={layer.size}
      opacity={opacity}
      threshold={0}
      smooth
      view={view}
      onView={onView}
      label={{ method: `${round.layer}:${round.channel}`, target: null }}
      plain
    />
  );
}
