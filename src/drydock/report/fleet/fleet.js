// Bars, and tables that sort by a click on a heading: amounts as amounts, what has none last.
for (const part of document.querySelectorAll("[data-share]")) part.style.flexGrow = part.dataset.share;

const value = (cell) => (cell.dataset.amount === undefined ? (cell.classList.contains("number") ? null : cell.textContent) : Number(cell.dataset.amount));

function compare(a, b, down) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = a === b ? 0 : a < b ? -1 : 1;
  return down ? -order : order;
}

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const cells = [...body.rows].map((row) => row.cells[place]);
    const most = Math.max(...cells.map((cell) => Number(cell.dataset.amount ?? 0)));
    for (const cell of cells) {
      if (most > 0 && cell.classList.contains("bytes")) cell.style.setProperty("--share", Number(cell.dataset.amount ?? 0) / most);
    }
    head.firstElementChild.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : head.classList.contains("number");
      for (const each of heads) {
        each.removeAttribute("aria-sort");
        each.querySelector("span").textContent = "";
      }
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      head.querySelector("span").textContent = down ? " ↓" : " ↑";
      body.append(...[...body.rows].sort((a, b) => compare(value(a.cells[place]), value(b.cells[place]), down)));
    });
  });
}
