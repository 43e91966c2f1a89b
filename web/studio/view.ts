// One zoom for all maps: what is looked at closely in one is looked at in all.

import { WHOLE, type View } from "./canvas/zoom";
import { store } from "./store";

const view = store<View>(WHOLE);

export const useView = (): [View, (view: View) => void] => [view.use(), view.set];
