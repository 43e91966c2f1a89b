// What is chosen with Pick: models, classes, layers, units.

import { count } from "../shared/words";
import { Pick, type Group } from "./pick";
import { modelKey, modelOf, state } from "./state";
import type { Model, Prediction } from "./types";
import { about } from "./world";

const GROUPS: Record<string, string> = { yours: "Yours", "built in": "Built in", torchvision: "torchvision", timm: "timm" };

/** "efficientnet_lite0", "resnet50, random weights". */
export function modelTitle(key: string): string {
  const { model, weights } = modelOf(key);
  return weights === "random" ? `${model}, random weights` : model;
}

function modelGroups(now: string, none: boolean): Group[] {
  const { model } = modelOf(none ? state.get().model : now);
  const all = Object.entries(about.get()?.models ?? {});
  const weights = model
    ? [
        { value: modelKey(model, "default"), title: model, note: "trained weights" },
        {
          value: modelKey(model, "random"),
          title: `${model}, random weights`,
          note: "knows nothing: what its maps share with yours is no evidence",
        },
      ]
    : [];
  return [
    ...(none ? [{ title: "", options: [{ value: "", title: "no second model" }] }] : []),
    { title: "This model", options: weights },
    ...all.map(([group, names]) => ({
      title: GROUPS[group] ?? group,
      options: names.map((name) => ({ value: name, title: name, on: name === now })),
    })),
  ];
}

export function ModelPick({
  label,
  value,
  none = false,
  set,
}: {
  label: string;
  value: string;
  none?: boolean;
  set: (key: string) => void;
}) {
  return (
    <Pick label={label} groups={() => modelGroups(value, none)} pick={set}>
      {value ? modelTitle(value) : "Compare with …"}
    </Pick>
  );
}

/** A class's name; its index where the model has no names. */
export function classTitle(target: string, model: Model | null): string {
  const index = Number(target);
  return (target !== "" && Number.isInteger(index) && model?.labels?.[index]) || target;
}

interface ClassPickProps {
  label: string;
  model: Model | null;
  first: Prediction[];
  pick: (target: string) => void;
  children: preact.ComponentChildren;
  kind?: string;
}

/** Classes: those that the model sees first, then all. Other targets can be typed, such as a unit "blocks.3.0:5". */
export function ClassPick({ label, model, first, pick, children, kind }: ClassPickProps) {
  const groups = (): Group[] => [
    {
      title: "Seen in the picture",
      options: first.map((one) => ({
        value: String(one.index),
        title: one.label,
        note: one.probability === undefined ? "" : `${(100 * one.probability).toFixed(1)} %`,
      })),
    },
    {
      title: model?.labels ? `All ${count(model.labels.length)} classes` : "",
      options: (model?.labels ?? []).map((title, index) => ({ value: String(index), title, note: String(index) })),
    },
  ];
  return (
    <Pick label={label} groups={groups} pick={pick} free {...(kind ? { kind } : {})}>
      {children}
    </Pick>
  );
}

const DEPTHS = ["early", "middle", "deep"];

export function layerGroups(model: Model | null, now: string, channels = true): Group[] {
  const layers = (model?.layers ?? []).filter((one) => !channels || (one.channels ?? 0) > 0);
  const note = (name: string) => {
    const one = layers.find((layer) => layer.name === name);
    const size = one?.grid ? `${one.grid[0]} × ${one.grid[1]}` : "";
    return [one?.kind, one?.channels ? `${count(one.channels)} channels` : "", size].filter(Boolean).join(" · ");
  };
  const usual = (model?.usual ?? []).map((name, i) => ({
    value: name,
    title: name,
    note: `${DEPTHS[i] ?? ""} · ${note(name)}`,
    on: name === now,
  }));
  return [
    { title: "Early, middle, deep", options: usual },
    {
      title: "All layers",
      options: layers.map((one) => ({ value: one.name, title: one.name, note: note(one.name), on: one.name === now })),
    },
  ];
}

export function LayerPick({
  model,
  value,
  set,
  label = "Layer",
  empty = "choose a layer",
  channels = true,
}: {
  model: Model | null;
  value: string;
  set: (name: string) => void;
  label?: string;
  empty?: string;
  channels?: boolean;
}) {
  const groups = () =>
    (empty === "chosen by the method" ? [{ title: "", options: [{ value: "", title: empty }] }] : []).concat(
      layerGroups(model, value, channels) as never,
    );
  return (
    <Pick label={label} groups={groups} pick={set} free>
      {value || empty}
    </Pick>
  );
}
