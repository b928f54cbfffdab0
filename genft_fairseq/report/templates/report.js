"use strict";
// The choices of a reader outlive the page's reading itself again.
const mine = (key) => `${location.pathname} ${key}`;
const kept = {
  get: (key) => { try { return sessionStorage.getItem(mine(key)); } catch { return null; } },
  set: (key, value) => { try { sessionStorage.setItem(mine(key), value); } catch { /* not kept */ } },
};

// Tables: a click on a heading sorts by it, another one the other way round.
const sortTable = (table, column, direction) => {
  const value = (row) => {
    const cell = row.cells[column];
    const number = Number.parseFloat(cell.dataset.value);
    return column === 0 ? cell.textContent.trim() : number;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (column === 0) return direction * x.localeCompare(y);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return direction * (x - y);
  });
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((heading, index) => {
    if (index === column) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  });
};
document.querySelectorAll("table.sortable").forEach((table, number) => {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      sortTable(table, column, direction);
      kept.set(`sort-${number}`, `${column} ${direction}`);
    });
  });
  const before = kept.get(`sort-${number}`)?.split(" ").map(Number);
  if (before && before[0] < table.tHead.rows[0].cells.length) sortTable(table, before[0], before[1]);
});

// Curves: against updates or against time.
const axis = document.querySelector(".axis");
if (axis) {
  axis.hidden = false;
  const show = (by) => document.body.classList.toggle("seconds", by === "seconds");
  axis.addEventListener("change", (event) => {
    show(event.target.value);
    kept.set("axis", event.target.value);
  });
  const before = kept.get("axis");
  const input = before && axis.querySelector(`input[value="${before}"]`);
  if (input) { input.checked = true; show(before); }
}

// Light or dark: as the system has it, until the reader chooses.
const theme = document.getElementById("theme");
const apply = (name) => { if (name) document.documentElement.dataset.theme = name; };
apply(kept.get("theme"));
theme.hidden = false;
theme.addEventListener("click", () => {
  const chosen = document.documentElement.dataset.theme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  apply(dark ? "light" : "dark");
  kept.set("theme", dark ? "light" : "dark");
});

// What was opened stays open.
document.querySelectorAll("details").forEach((each) => {
  const key = `open ${each.querySelector("summary").textContent.trim()}`;
  const before = kept.get(key);
  if (before) each.open = before === "yes";
  each.addEventListener("toggle", () => kept.set(key, each.open ? "yes" : "no"));
});

// What is printed is shown whole.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
});
