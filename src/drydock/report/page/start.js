// What all parts share: the data, words for amounts and times, and how elements are made. Text is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const KIND = 0, WHAT = 1, NAME = 2, STATE = 3, BYTES = 4, ONLY = 5, CAME = 6, ENDS = 7, FACTS = 8, LINKS = 9, WORD = 10, COUNT = 11, LEASES = 12;
const STATES = ["live", "leased", "unreachable", "orphaned", "missing", "corrupt", "foreign"];
const TONES = { damage: "corrupt", "not read": "leased", note: "foreign" };

const isObject = (row) => data.objects.includes(row[KIND]);

const element = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.map(node));
  return made;
}

function node(child) {
  return child instanceof Node ? child : String(child);
}

function tone(state) {
  return STATES.includes(state) ? state : TONES[state] ?? "none";
}

// The tone of a row: of its state, or of what it is if it has none.
function hue(row) {
  if (row[KIND] !== "usage") return tone(row[STATE]);
  return row[WHAT] === "log" ? "logs" : row[WHAT].endsWith("volume") ? "volumes" : "none";
}

function dot(state) {
  return make("i", { class: `dot state-${tone(state)}` }, swatch());
}

// To one digit, and a half to the even one, as the other reports round.
function tenths(value) {
  const tenfold = value * 10, whole = Math.round(tenfold);
  return (tenfold % 1 === 0.5 && whole % 2 ? whole - 1 : whole) / 10;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (tenths(value) < 1024) return unit === "B" ? `${bytes} B` : `${tenths(value).toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${tenths(value).toFixed(1)} PiB`;
}

function when(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString().slice(0, 16).replace("T", " ");
}

function percent(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  return share >= 10 ? `${share.toFixed(0)} %` : `${share.toFixed(1)} %`;
}

function counted(count, what) {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

// How many things rows are about: one may stand for many smaller ones.
function things(some) {
  return some.reduce((sum, { row }) => sum + row[COUNT], 0);
}

// Every row of every root, each with the root it is of.
const rows = data.roots.flatMap((root, number) => root.rows.map((row) => ({ row, root, number })));

for (const part of document.querySelectorAll("[data-share]")) part.style.flexGrow = part.dataset.share;
