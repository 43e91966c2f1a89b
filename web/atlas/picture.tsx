// A picture of the data set and the units that fire on it.

import { useMemo } from "preact/hooks";
import { Wait } from "../shared/parts";
import { index, useChunk, useNames } from "./data";
import { Fires } from "./fires";
import { Heading, Missing, Refusal, Steps } from "./parts";
import { href } from "./routes";
import { Picture } from "./sprite";

export function PicturePage({ id }: { id: string }) {
  const { value: names, error } = useNames();
  const { pictures, data } = index();
  const place = useMemo(() => names?.ids.indexOf(id) ?? -1, [names, id]);
  const chunk = useChunk(place < 0 ? null : Math.floor(place / pictures.chunk));
  if (error) return <main><Heading text={id} /><Missing error={error} /></main>;
  if (!names) return <main><Heading text={id} /><Wait what="the names" /></main>;
  if (place < 0) {
    const skipped = data.skipped.find(([name]) => name === id);
    return (
      <Refusal title={`No picture “${id}”`}>
        {skipped ? <p>It was skipped: {skipped[1]}.</p> : <p>The scan of {data.name} saw no picture of this name.</p>}
      </Refusal>
    );
  }
  const step = (to: number): [string, string] | null => {
    const name = names.ids[to];
    return name === undefined ? null : [href.picture(name), name.slice(name.lastIndexOf("/") + 1)];
  };
  const label = names.labels?.[place];
  const fires = chunk.value?.fires[place % pictures.chunk];
  return (
    <main>
      <Steps previous={step(place - 1)} next={step(place + 1)} />
      <Heading text={id} />
      <div class="one">
        <figure>
          <Picture number={place} alt={`${id}, as the network saw it`} />
          <figcaption class="note">{label && <><strong>{label}</strong> · <a href={`${href.pictures()}?filter=${encodeURIComponent(label)}`}>others of it</a> · </>}as the network saw it</figcaption>
        </figure>
        <div>
          {chunk.error ? <Missing error={chunk.error} /> : !chunk.value ? <Wait what="its units" /> : <Fires fires={fires ?? []} />}
        </div>
      </div>
    </main>
  );
}
