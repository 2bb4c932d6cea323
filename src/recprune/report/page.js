// What the page does beyond being read. Without this script nothing is lost but the pointer:
// every figure that it shows stands in the tables, too.
"use strict";

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
// What it says, a focused mark says by its label: readers' aids would hear it twice.
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);

let hot = null;

function hide() {
  hot?.classList.remove("hot");
  hot = null;
  tip.hidden = true;
}

function show(point) {
  if (point === hot) return;
  hide();
  hot = point;
  point.classList.add("hot");
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  const mark = point.getBoundingClientRect();
  const box = tip.getBoundingClientRect();
  const wide = document.documentElement.clientWidth;
  const left = Math.min(Math.max(8, mark.left + mark.width / 2 - box.width / 2), wide - box.width - 8);
  // Towards the middle of the chart, and never out of sight.
  const chart = point.ownerSVGElement.getBoundingClientRect();
  const above = mark.top - box.height - 12, below = mark.bottom + 12;
  const high = mark.top < chart.top + chart.height / 2;
  const fits = high ? below + box.height < innerHeight : above < 0;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(fits ? below : above) + scrollY}px`;
}

function middle(point) {
  const box = point.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}

function nearest(points, x, y, within) {
  let found = null;
  for (const point of points) {
    const [px, py] = middle(point);
    const away = Math.hypot(px - x, py - y);
    if (away < within) [found, within] = [point, away];
  }
  return found;
}

for (const chart of document.querySelectorAll("figure.pointed")) {
  const points = [...chart.querySelectorAll(".point")];
  for (const point of points) {
    const title = point.querySelector("title");
    point.dataset.tip = title.textContent;
    title.remove(); // or the browser would show it beside ours
    point.addEventListener("focus", () => show(point));
    point.addEventListener("blur", hide);
  }
  // The marks are small: whichever is nearest counts.
  const point = (event) => {
    const found = nearest(points, event.clientX, event.clientY, 26);
    if (found) show(found);
    else if (hot !== document.activeElement) hide();
  };
  chart.addEventListener("pointermove", point);
  chart.addEventListener("pointerdown", point);
  chart.addEventListener("pointerleave", hide);
  // One stop for the Tab key; the arrows go from mark to mark, from the left to the right.
  chart.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step || !points.includes(event.target)) return;
    event.preventDefault();
    const ordered = points.slice().sort((a, b) => middle(a)[0] - middle(b)[0]);
    const at = ordered.indexOf(event.target);
    const next = ordered[(at + step + ordered.length) % ordered.length];
    event.target.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  chart.nextElementSibling.hidden = false;
}

// Only what can be scrolled has to be a stop of the Tab key.
const scrolled = document.querySelectorAll(".scroll, pre");
const mind = () => {
  for (const each of scrolled) {
    if (each.scrollWidth > each.clientWidth) each.setAttribute("tabindex", "0");
    else each.removeAttribute("tabindex");
  }
};
mind();
addEventListener("resize", mind);
document.addEventListener("toggle", mind, true); // a table that was folded has its width now
addEventListener("scroll", () => hot && !hot.matches(":focus") && hide(), { passive: true });
