// The studio: looks into a model with your hands.

import { render } from "preact";
import "../shared/theme.css";

render(<main><h1>tapetum studio</h1></main>, document.getElementById("studio")!);
