// What the page puts on `window.tapetumStudio`, for tests and for whoever opens the console: functions of pixels and maps, and
// `show`, which draws one component alone.

import type { ComponentType } from "preact";
import { h, render } from "preact";
import { ChannelsView } from "./channels";
import * as colours from "./colours";
import { Compare } from "./compare";
import { Editor } from "./editor";
import * as edits from "./edits";
import * as maps from "./maps";
import { MapView, PictureView } from "./mapview";
import * as pixels from "./pixels";
import { WHOLE } from "./zoom";

const COMPONENTS = { MapView, PictureView, ChannelsView, Compare, Editor };

/** Draws a component into an element; call it again with changed props to change it. */
const show = (name: keyof typeof COMPONENTS, props: object, into: Element) => render(h(COMPONENTS[name] as ComponentType<object>, props), into);

export const exposed = { colours, maps, edits, pixels, WHOLE, show };
