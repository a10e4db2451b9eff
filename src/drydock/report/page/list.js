// The table: filtered, sorted, and shown a page at a time.
const COLUMNS = [
  ["Is", WHAT], ["Name", NAME], ["State", STATE], ["Size", BYTES], ["Frees alone", ONLY], ["Came", CAME], ["Ends", ENDS],
];
const NUMBERS = [BYTES, ONLY, CAME, ENDS];
const WIDTHS = { [WHAT]: "14%", [NAME]: "28%", [STATE]: "14%", [CAME]: "13%", [ENDS]: "13%" };
const SELECTIONS = {
  All: () => true,
  Images: (row) => row[KIND] === "image",
  Containers: (row) => row[KIND] === "container",
  Leases: (row) => row[LEASES].length > 0,
  "Interrupted pulls": (row) => row[KIND] === "pull",
  Orphans: (row) => row[STATE] === "orphaned",
  "Held by nothing": (row) => isObject(row) && ["orphaned", "unreachable"].includes(row[STATE]),
  Damaged: (row) => ["missing", "corrupt", "damage"].includes(row[STATE]),
  Findings: (row) => row[KIND] === "finding",
  Objects: (row) => isObject(row),
  Volumes: (row) => row[KIND] === "usage" && row[WHAT].endsWith("volume"),
  Logs: (row) => row[KIND] === "usage" && row[WHAT] === "log",
  "Other data": (row) => row[KIND] === "usage" && row[WHAT] !== "log" && !row[WHAT].endsWith("volume"),
};
const PAGE = 50;
let selection = "All", column = BYTES, down = true, found = rows, first = 0;

function texts(entry) {
  entry.text ??= [entry.row[WHAT], entry.row[NAME], entry.row[STATE], ...entry.row[FACTS].map(([, value]) => value)].join("\n").toLowerCase();
  return entry.text;
}

function compare(a, b) {
  const left = a.row[column], right = b.row[column];
  if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
  const order = NUMBERS.includes(column) ? left - right : left === right ? 0 : left < right ? -1 : 1;
  return down ? -order : order;
}

function select() {
  const words = element("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = SELECTIONS[selection];
  found = rows.filter((entry) => wanted(entry.row) && words.every((word) => texts(entry).includes(word)));
  found.sort(compare);
  for (const button of element("kinds").children) button.setAttribute("aria-pressed", String(button.dataset.name === selection));
  for (const head of document.querySelectorAll("#list th")) {
    const own = Number(head.dataset.column) === column;
    if (own) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
    head.querySelector("span").textContent = own ? (down ? " ↓" : " ↑") : "";
  }
  const bytes = found.reduce((sum, { row }) => sum + (isObject(row) ? row[BYTES] : 0), 0);
  element("count").textContent = `${things(found)} of ${things(rows)}${bytes ? `; objects among them: ${size(bytes)}` : ""}`;
  turn(0);
}

function cell(row, place, title) {
  const value = NUMBERS.slice(2).includes(place) ? when(row[place]) : NUMBERS.includes(place) ? size(row[place]) : row[place];
  const classes = place === NAME ? "name" : place === STATE ? "state" : NUMBERS.includes(place) ? "number" : "";
  const made = make("td", { class: classes || null, "data-label": value === "" ? null : title });
  if (place === STATE && value) made.append(dot(value));
  made.append(place === NAME ? make("div", {}, value) : value);
  return made;
}

// Shows the page that begins with this line of those found.
function turn(to) {
  first = to;
  const lines = found.slice(first, first + PAGE).map((entry) => {
    const line = make("tr", { tabindex: "-1", onclick: () => show(entry) }, ...COLUMNS.map(([title, place]) => cell(entry.row, place, title)));
    line.addEventListener("keydown", (event) => {
      if (event.key === "Enter") show(entry);
      else if (event.key === "ArrowDown") step(line.nextElementSibling, 1);
      else if (event.key === "ArrowUp") step(line.previousElementSibling, -1);
      else return;
      event.preventDefault();
    });
    return line;
  });
  // Tab comes to one line, arrows to the others: a page of them is not in the way of what is below.
  lines[0]?.setAttribute("tabindex", "0");
  document.querySelector("#list tbody").replaceChildren(...lines);
  const last = first + lines.length;
  for (const pages of document.querySelectorAll(".pages")) {
    pages.hidden = found.length <= PAGE;
    const [previous, place, next] = pages.children;
    previous.disabled = first === 0;
    next.disabled = last === found.length;
    place.textContent = `Lines ${first + 1} to ${last} of ${found.length}`;
  }
}

// Goes to a line, or past the end of a page to the one beside it.
function step(line, way) {
  if (!line) {
    const to = first + way * PAGE;
    if (to < 0 || to >= found.length) return;
    turn(to);
    const lines = document.querySelectorAll("#list tbody tr");
    line = lines[way > 0 ? 0 : lines.length - 1];
  }
  document.querySelector("#list tbody tr[tabindex='0']")?.setAttribute("tabindex", "-1");
  line.setAttribute("tabindex", "0");
  line.focus();
}

for (const [number, pages] of document.querySelectorAll(".pages").entries()) {
  const button = (words, way) => make("button", { type: "button", onclick: () => {
    turn(first + way * PAGE);
    if (number) step(document.querySelector("#list tbody tr"), 1);
  } }, words);
  pages.append(button("Previous", -1), make("span"), button("Next", 1));
}
element("kinds").append(...Object.keys(SELECTIONS).map((name) => {
  const count = things(rows.filter(({ row }) => SELECTIONS[name](row)));
  return make("button", { type: "button", "data-name": name, onclick: () => { selection = name; select(); } }, `${name} ${count}`);
}));
document.querySelector("#list thead tr").append(...COLUMNS.map(([title, place]) => {
  const sort = () => {
    [column, down] = [place, column === place ? !down : NUMBERS.includes(place)];
    select();
  };
  const head = make("th", { scope: "col", "data-column": place, class: NUMBERS.includes(place) ? "number" : null }, make("button", { type: "button", onclick: sort }, title, make("span", { "aria-hidden": "true" })));
  head.style.width = WIDTHS[place] ?? "";
  return head;
}));
const [listed, objects] = ["listed", "objects"].map((name) => data.roots.reduce((sum, root) => sum + root[name], 0));
if (listed < objects) {
  element("smaller").textContent = `Of ${objects} objects ${listed} have a line each: the damaged, then the largest. The others, and the smallest of very many images, share lines. Every sum on this page counts all of them; drydock explain finds each.`;
  element("smaller").hidden = false;
}
element("find").addEventListener("input", select);
select();
