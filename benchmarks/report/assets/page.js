"use strict";
// What all parts of the page use: elements, text that cannot deceive, packed data, files, theme.
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
const button = (text, onclick, attributes = {}) =>
  element("button", { type: "button", onclick, ...attributes }, text);

// Control characters and marks that turn the order of a line round are shown by their code point:
// a program that reads one way and runs another must not look harmless here.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/;
const MOST = 20000;

function visible(text) {
  const nodes = [];
  let plain = "";
  for (const piece of text.replaceAll("\r\n", "\n").split(new RegExp(`(${HIDDEN.source})`))) {
    if (piece.length === 1 && HIDDEN.test(piece)) {
      const code = piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      nodes.push(...marked(plain), element("span", { class: "control" }, `U+${code}`));
      plain = "";
    } else plain += piece;
  }
  nodes.push(...marked(plain));
  return nodes;
}

// Hits of the search, as long as it is no pattern.
function marked(text) {
  const wanted = byId("filters")?.elements.text.value.trim().toLowerCase();
  if (!text) return [];
  if (!wanted || wanted.length < 2 || wanted.startsWith("/")) return [text];
  const low = text.toLowerCase();
  if (low.length !== text.length) return [text];
  const nodes = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    nodes.push(text.slice(from, at), element("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...nodes, text.slice(from)];
}

// A long text costs seconds to lay out: its head is shown, the rest on demand.
function block(tag, attributes, text) {
  const node = element(tag, attributes, ...visible(text.slice(0, MOST)));
  if (text.length > MOST) {
    const all = `Show all ${text.length.toLocaleString("en")} characters (${MOST.toLocaleString("en")} shown)`;
    const more = button(all, () => { node.replaceChildren(...visible(text)); more.remove(); });
    return element("div", {}, node, more);
  }
  return node;
}

async function unpack(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the answers: Chrome 80, Firefox 113, Safari 16.4 or later can.");
  }
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// Each chunk is unpacked once, when first asked for.
const unpacked = new Map();
function chunk(kind, number) {
  const id = `${kind}-${number}`;
  if (!unpacked.has(id)) unpacked.set(id, unpack(byId(id).textContent));
  return unpacked.get(id);
}

function download(name, rows) {
  const cell = (value) => {
    let text = String(value ?? "");
    // A spreadsheet would run a text that begins like a formula.
    if (/^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text)) text = "'" + text;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const body = rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const url = URL.createObjectURL(new Blob([body], { type: "text/csv" }));
  const link = element("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-")}.csv` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page opened as a file may have no clipboard: the old way still works there.
    const field = element("textarea", { class: "skip" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(said);
}

let silence;
function say(text) {
  byId("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { byId("said").textContent = ""; }, 4000);
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

function setUpTables() {
  for (const region of document.querySelectorAll(".wide")) {
    const table = region.querySelector("table");
    const cells = (row) => [...row.cells].map((cell) => cell.textContent);
    const name = region.getAttribute("aria-label");
    region.after(button("CSV", () => download(name, [...table.rows].map(cells)),
      { class: "csv", "aria-label": `CSV of ${name}` }));
  }
  const curves = byId("curves");
  if (!curves) return;
  const { columns, rows } = JSON.parse(byId("metrics").textContent);
  curves.append(button("CSV of all metrics", () => download("metrics", [columns, ...rows]), { class: "csv" }));
}
