"use strict";
const PAGE = 200;
const FIELDS = ["run", "place", "verdict", "status", "level", "subject", "case"];
const all = JSON.parse(document.getElementById("data").textContent).transcripts;
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A page opened as a file may have no storage; the choice then lasts as long as the page.
function remember(value) {
  try { localStorage.setItem("torl-theme", value); } catch { return; }
}
function remembered() {
  try { return localStorage.getItem("torl-theme"); } catch { return null; }
}
function setUpTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => { root.dataset.theme = remembered() || (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", show);
  show();
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
  });
}

function setUpNavigation() {
  for (const heading of document.querySelectorAll("main > section > h2")) {
    const link = element("a", { href: "#" + heading.parentElement.id }, heading.textContent);
    document.querySelector("nav").append(link);
  }
}

const statuses = (item) => item.turns.map((turn) => turn.status).filter(Boolean);
const values = {
  run: (item) => [String(item.run)],
  place: (item) => [item.place],
  verdict: (item) => [item.lost ? "lost" : item.verdict],
  status: (item) => (statuses(item).length ? statuses(item) : ["no program"]),
  level: (item) => [item.level],
  subject: (item) => [item.subject],
  case: (item) => item.cases,
};
const natural = new Intl.Collator("en", { numeric: true }).compare;
let found = [];
let chosen = -1;
let shown = PAGE;

function fillFilters(form) {
  for (const name of FIELDS) {
    const options = new Set(all.flatMap(values[name]).filter(Boolean));
    const sorted = name === "place" ? [...options] : [...options].sort(natural);
    form.elements[name].append(element("option", { value: "" }, "all"));
    for (const value of sorted) {
      const text = name === "run" ? runName(value) : value.replaceAll("_", " ");
      form.elements[name].append(element("option", { value }, text));
    }
    form.elements[name].parentElement.hidden = options.size < 2;
  }
}

function runName(index) {
  const names = byId("transcripts").dataset.runs;
  return names ? JSON.parse(names)[index] : index;
}

function matches(item, form) {
  for (const name of FIELDS) {
    const wanted = form.elements[name].value;
    if (wanted && !values[name](item).includes(wanted)) return false;
  }
  const text = form.elements.text.value.trim().toLowerCase();
  if (!text) return true;
  if (item.id.toLowerCase() === text) return true;
  const whole = [item.id, item.question, ...item.turns.flatMap((turn) => [turn.text, turn.output])];
  return whole.join("\n").toLowerCase().includes(text);
}

function refresh() {
  const form = byId("filters");
  found = all.filter((item) => matches(item, form)).sort((a, b) => a.order - b.order);
  chosen = -1;
  shown = PAGE;
  const right = found.filter((item) => item.verdict === "correct").length;
  const share = found.length ? ` (${((100 * right) / found.length).toFixed(1)} %)` : "";
  byId("found").textContent = `${found.length} answers, ${right} correct${share}`;
  byId("list").replaceChildren();
  drawList(0);
}

function drawList(from) {
  byId("list").append(...found.slice(from, shown).map((item, offset) => row(item, from + offset)));
  byId("more").hidden = shown >= found.length;
}

function row(item, index) {
  const marks = statuses(item).join(", ") || "no program";
  return element("li", {}, element("button", { type: "button", onclick: () => choose(index, true) },
    element("span", {}, verdict(item), ` ${item.place} · ${marks}`),
    element("small", {}, `${item.id} #${item.sample}  ${item.question}`)));
}

function verdict(item) {
  const good = item.verdict === "correct" && !item.lost;
  const text = item.lost ? "lost" : item.verdict.replaceAll("_", " ") || "no verdict";
  return element("span", { class: good ? "good" : "bad" }, (good ? "✓ " : "✗ ") + text);
}

function choose(index, move) {
  if (index < 0 || index >= found.length) return;
  if (index >= shown) { const from = shown; shown = index + PAGE; drawList(from); }
  const buttons = byId("list").querySelectorAll("button");
  buttons[chosen]?.removeAttribute("aria-current");
  chosen = index;
  buttons[index].setAttribute("aria-current", "true");
  drawDetail(found[index]);
  const narrow = matchMedia("(max-width: 46rem)").matches;
  if (move && narrow) byId("detail").scrollIntoView();
  else buttons[index].focus();
}

function drawDetail(item) {
  const terms = Object.entries(item.terms).map(([name, value]) => `${name} ${value}`).join(", ");
  const facts = [`reward ${item.reward}` + (terms ? ` (${terms})` : ""), `${item.tokens} tokens`,
    `ended by ${item.stop.replaceAll("_", " ")}`];
  if (item.level) facts.push(`level ${item.level}`);
  if (item.subject) facts.push(item.subject);
  if (item.lost) facts.push(`lost: ${item.lost}`);
  byId("detail").replaceChildren(
    element("h3", {}, verdict(item), ` ${item.place} · ${item.id} #${item.sample}`),
    element("p", { class: "prose" }, item.question),
    element("p", {}, `Answer ${item.answer || "none"}, reference ${item.reference}`),
    element("p", {}, ...facts.map((fact) => element("span", { class: "tag" }, fact)),
      ...item.cases.map((name) => element("span", { class: "tag" }, name.replaceAll("_", " ")))),
    actions(item),
    ...item.turns.flatMap((turn, index) => [drawTurn(turn, index), drawBranches(item, index)]));
}

// What else was written from where a turn begins: the turn anew, or the rest of another answer.
function drawBranches(item, index) {
  const anew = item.branches.filter((branch) => branch.at === index);
  const others = siblings(item).filter((other) => sameUntil(item, other, index));
  const ran = anew.filter((branch) => branch.status === "ok").length;
  const right = others.filter((other) => other.verdict === "correct").length;
  const parts = [];
  if (anew.length) parts.push(`written anew ${anew.length} times, ${ran} ran`);
  if (others.length) parts.push(`${others.length} other answer${others.length > 1 ? "s" : ""}, ${right} correct`);
  if (!parts.length) return "";
  return element("details", { class: "branches" },
    element("summary", {}, `Branches of turn ${index + 1}: ${parts.join("; ")}`),
    ...anew.map((branch, i) => drawTurn(branch, index, `Turn ${index + 1} anew, ${i + 1}`)),
    ...others.map((other) => element("button", { type: "button", onclick: () => openItem(other) },
      verdict(other), ` #${other.sample} · ${statuses(other).join(", ") || "no program"}`)));
}

const families = new Map();
const family = (item) => JSON.stringify([item.run, item.place, item.id]);
function siblings(item) {
  if (!families.size) {
    for (const one of all) {
      if (!families.has(family(one))) families.set(family(one), []);
      families.get(family(one)).push(one);
    }
  }
  return families.get(family(item)).filter((other) => other !== item);
}

function sameUntil(item, other, index) {
  if (other.turns.length <= index) return false;
  return item.turns.slice(0, index).every((turn, i) =>
    turn.text === other.turns[i].text && turn.output === other.turns[i].output);
}

function openItem(item) {
  const index = found.indexOf(item);
  if (index >= 0) choose(index, true);
  else drawDetail(item);
  byId("detail").scrollIntoView();
  byId("detail").focus();
}

function actions(item) {
  const only = (fields) => () => {
    const form = byId("filters");
    form.reset();
    for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
    refresh();
    choose(Math.max(0, found.indexOf(item)), false);
  };
  return element("div", { class: "actions" },
    element("button", { type: "button", onclick: only({ text: item.id, run: String(item.run) }) },
      "Follow this problem"),
    element("button", { type: "button",
      onclick: only({ text: item.id, run: String(item.run), place: item.place }) },
      "Its other answers here"),
    element("button", { type: "button", onclick: () => byId("list").scrollIntoView() }, "To the list"));
}

function drawTurn(turn, index, name = `Turn ${index + 1}`) {
  const failed = turn.status && turn.status !== "ok";
  const label = turn.status ? `program: ${turn.status}` + (turn.error ? ` (${turn.error})` : "") : "text";
  const node = element("div", { class: failed ? "turn failed" : "turn" },
    element("small", {}, `${name} · ${label} · reward ${turn.reward}`));
  for (const [position, piece] of turn.text.split(/```python[ \t]*\n?([^]*?)(?:```|$)/).entries()) {
    if (!piece.trim()) continue;
    node.append(position % 2
      ? element("pre", { "data-kind": "code", tabindex: "0" }, piece.trimEnd())
      : element("div", { class: "prose" }, piece.trim()));
  }
  if (turn.output.trim()) {
    const text = turn.output.trim().replace(/^```output\n?/, "").replace(/\n?```$/, "");
    node.append(element("pre", { "data-kind": "output", tabindex: "0" }, text));
  }
  return node;
}

function onKey(event) {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inList = byId("list").contains(document.activeElement);
  const step = { j: 1, k: -1, ArrowDown: inList ? 1 : 0, ArrowUp: inList ? -1 : 0 }[event.key];
  if (event.key === "/") {
    byId("filters").elements.text.focus();
  } else if (step) {
    choose(Math.max(0, chosen + step), false);
  } else {
    return;
  }
  event.preventDefault();
}

// The first cell of each behaviour becomes a button that leaves its cases in the list.
function setUpCases(form) {
  for (const part of document.querySelectorAll(".cases")) {
    for (const cell of part.querySelectorAll("tbody td:first-child")) {
      const name = cell.textContent.replaceAll(" ", "_");
      const { run, place } = part.dataset;
      const is = (item) => String(item.run) === run && item.place === place && item.cases.includes(name);
      if (!all.some(is)) continue;
      cell.replaceChildren(element("button", { type: "button", onclick: () => {
        form.reset();
        for (const [field, value] of Object.entries({ run, place, case: name })) {
          form.elements[field].value = value;
        }
        refresh();
        byId("transcripts").scrollIntoView();
        choose(0, false);
      } }, cell.textContent));
    }
  }
}

function setUpViewer() {
  const form = byId("filters");
  if (!form) return;
  fillFilters(form);
  let waiting;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  form.addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  form.addEventListener("reset", () => setTimeout(refresh));
  byId("more").addEventListener("click", () => { const from = shown; shown += PAGE; drawList(from); });
  document.addEventListener("keydown", onKey);
  setUpCases(form);
  refresh();
}

// A running training grows; the page stays as it is while somebody reads an answer or types.
function setUpRefresh() {
  const seconds = Number(root.dataset.refresh);
  if (!seconds) return;
  setInterval(() => {
    const typing = document.activeElement?.closest("form");
    if (chosen < 0 && !typing) location.reload();
  }, 1000 * seconds);
}

setUpTheme();
setUpRefresh();
setUpNavigation();
setUpViewer();
