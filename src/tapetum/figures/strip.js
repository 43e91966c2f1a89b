// Everything can be seen without this: it shows one moment at a time, by slider, by keyboard, or running.
const player = document.querySelector(".player");
const slider = document.getElementById("moment");
const output = player.querySelector("output");
const play = document.getElementById("play");
const heads = [...document.querySelectorAll("thead th")];
const rows = [...document.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("img")]);
const views = rows.map((pictures, i) => {
  const figure = document.createElement("figure");
  const view = document.createElement("img");
  const caption = document.createElement("figcaption");
  caption.textContent = document.querySelectorAll("tbody th")[i].textContent;
  view.width = pictures[0].width;
  view.height = pictures[0].height;
  figure.append(view, caption);
  player.querySelector(".stage").append(figure);
  return view;
});
const show = (moment) => {
  slider.value = moment;
  views.forEach((view, i) => {
    view.src = rows[i][moment].src;
    view.alt = rows[i][moment].alt;
  });
  heads.forEach((head, i) => head.classList.toggle("now", i === moment));
  output.value = heads[moment].textContent;
  slider.setAttribute("aria-valuetext", heads[moment].textContent);
};
let timer = 0;
const stop = () => {
  clearInterval(timer);
  timer = 0;
  play.textContent = "Play";
  play.setAttribute("aria-pressed", "false");
};
const start = () => {
  if (Number(slider.value) === heads.length - 1) show(0);
  timer = setInterval(() => {
    const next = Number(slider.value) + 1;
    if (next < heads.length) show(next);
    if (next >= heads.length - 1) stop();
  }, Number(player.dataset.interval));
  play.textContent = "Pause";
  play.setAttribute("aria-pressed", "true");
};
slider.addEventListener("input", () => {
  stop();
  show(Number(slider.value));
});
play.addEventListener("click", () => (timer ? stop() : start()));
player.hidden = false;
show(heads.length - 1);
