// Everything can be read without this: it fades maps into the photo, and sorts the tables.
for (const mix of document.querySelectorAll(".mix")) {
  mix.hidden = false;
  const question = mix.closest(".question");
  mix.querySelector("input").addEventListener("input", (event) => {
    question.style.setProperty("--mix", event.target.value / 100);
  });
}
for (const map of document.querySelectorAll(".map")) {
  map.title = "Tap to see the photo, tap again for the map";
  map.addEventListener("click", () => map.classList.toggle("bare"));
}
const key = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
};
const order = (a, b) => (typeof a !== typeof b ? (typeof a === "number" ? -1 : 1) : a < b ? -1 : a > b ? 1 : 0);
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => order(key(a, column), key(b, column)));
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
}
