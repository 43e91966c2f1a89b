// The pictures: packaged ones, the person's own, and how another gets in: drop, paste, choose, camera.

import { useEffect, useRef, useState } from "preact/hooks";
import { picturesOf } from "./asks";
import { modelTitle } from "./choices";
import { fresh } from "./jobs";
import { Bars, usePredictions } from "./predictions";
import { change, state } from "./state";
import { nameOfRow } from "./maps";
import { add, idOf, nameOf, pictureOf, remove, shelf, useSeen } from "./world";
import { Working } from "./working";

/** Pictures that are dropped or pasted anywhere on the page. */
export function useDrops(): boolean {
  const [over, set] = useState(false);
  useEffect(() => {
    const drag = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      set(true);
    };
    const leave = (event: DragEvent) => event.relatedTarget === null && set(false);
    const drop = (event: DragEvent) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      set(false);
      void add([...event.dataTransfer.files]);
    };
    const paste = (event: ClipboardEvent) => {
      const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
      if (files.length) void add(files);
    };
    addEventListener("dragover", drag);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragover", drag);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
      removeEventListener("paste", paste);
    };
  }, []);
  return over;
}

/** What the model saw, as it saw it. */
function Photo({ id, model }: { id: string; model: string }) {
  const pixels = useSeen(id, model);
  const canvas = useRef<HTMLCanvasElement>(null);
  const picture = pictureOf(id);
  useEffect(() => {
    if (pixels) canvas.current?.getContext("2d")?.putImageData(pixels, 0, 0);
  }, [pixels]);
  if (!pixels) return picture?.thumbnail ? <img class="photo" src={picture.thumbnail} alt={picture.name} /> : <div class="photo" />;
  return (
    <canvas
      class="photo"
      ref={canvas}
      width={pixels.width}
      height={pixels.height}
      role="img"
      aria-label={`${picture?.name ?? "The picture"}, as the model saw it`}
    />
  );
}

function Ways() {
  const input = useRef<HTMLInputElement>(null);
  const [camera, open] = useState(false);
  return (
    <div class="ways">
      <button type="button" onClick={() => input.current?.click()}>
        Your picture …
      </button>
      {"mediaDevices" in navigator && (
        <button type="button" aria-expanded={camera} onClick={() => open(!camera)}>
          Camera
        </button>
      )}
      <span class="note">or drop, or paste one</span>
      <input
        ref={input}
        type="file"
        accept="image/*"
        multiple
        hidden
        aria-label="Your picture"
        onChange={(event) => {
          void add([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
      {camera && <Camera close={() => open(false)} />}
    </div>
  );
}

function Camera({ close }: { close: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [wrong, refuse] = useState("");
  useEffect(() => {
    let stream: MediaStream | null = null;
    let wanted = true;
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then(
      (found) => {
        stream = found;
        if (!wanted) return found.getTracks().forEach((track) => track.stop());
        video.current!.srcObject = found;
        void video.current!.play();
      },
      () => refuse("The camera cannot be used; choose a picture instead."),
    );
    return () => {
      wanted = false;
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  const snap = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.current!.videoWidth, video.current!.videoHeight];
    canvas.getContext("2d")!.drawImage(video.current!, 0, 0);
    canvas.toBlob((blob) => blob && void add([new File([blob], "camera.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.92);
    close();
  };
  if (wrong) return <p class="caution">{wrong}</p>;
  return (
    <div class="camera">
      <video ref={video} muted playsInline aria-label="Camera" />
      <div class="row-of">
        <button type="button" class="strong" onClick={snap}>
          Take it
        </button>
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
    </div>
  );
}

const several = { on: false };

function Thumbnails() {
  const all = shelf.use();
  const { pictures } = state.use();
  const [many, set] = useState(several.on || pictures.length > 1);
  const press = (name: string) => {
    if (!many) return change({ pictures: [name], edited: "" }, true);
    const rest = pictures.filter((one) => one !== name);
    const next = rest.length === pictures.length ? [...pictures, name].slice(-6) : rest;
    change({ pictures: next.length ? next : [name], edited: "" });
  };
  const toggle = () => {
    several.on = !many;
    set(!many);
    if (many && pictures.length > 1) change({ pictures: pictures.slice(0, 1) });
  };
  return (
    <>
      <ul class="thumbs" aria-label="Pictures">
        {all.map((one) => {
          const name = nameOf(one);
          const on = pictures.some((chosen) => idOf(chosen) === one.id);
          return (
            <li key={one.id}>
              <button
                type="button"
                class="plain"
                aria-pressed={on}
                onClick={() => press(name)}
                title={one.credit ? `${one.name}: ${one.credit}` : one.name}
              >
                <img src={one.thumbnail} alt={one.name} />
              </button>
              {one.own && (
                <button type="button" class="plain close" aria-label={`Remove ${one.name}`} onClick={() => remove(one.id)}>
                  ×
                </button>
              )}
            </li>
          );
        })}
      </ul>
      <label class="note several">
        <input type="checkbox" checked={many} onChange={toggle} /> several at once
      </label>
    </>
  );
}

export function Shelf() {
  const now = state.use();
  shelf.use();
  const pictures = picturesOf(now);
  const { rows, run } = usePredictions("predict", now.model, pictures);
  const second = usePredictions("predict/other", now.other, now.other ? pictures : []);
  const shown = now.edited ? [1] : pictures.map((_, i) => i).slice(0, 1);
  return (
    <aside class="shelf" aria-label="The picture and the answer">
      {shown.map((i) => (
        <Photo key={i} id={pictures[i] ?? ""} model={now.model} />
      ))}
      <Thumbnails />
      <Ways />
      <div class="answers-of">
        <Working name="predict" run={run} options={{ quick: true }} />
        {(now.edited === "" || now.tab !== "mattered") &&
          rows.map((row, i) => (
            <section key={i}>
              {rows.length > 1 && <h3>{nameOfRow(run.answered?.pictures[i] ?? "", i, now)}</h3>}
              <Bars
                rows={rows.length > 1 ? row.slice(0, 3) : row}
                before={now.edited && i === 1 ? rows[0] : undefined}
                stale={!fresh(run)}
              />
            </section>
          ))}
        {now.other &&
          second.rows
            .map((row, i) => (
              <section key={i}>
                <h3>{modelTitle(now.other)}</h3>
                <Bars rows={row.slice(0, 3)} stale={!fresh(second.run)} />
              </section>
            ))
            .slice(0, 1)}
      </div>
    </aside>
  );
}
