// The time line: bytes by when they came, then leases by when they end.
const HEIGHT = 150, TOP = 18;

function label(x, y, words, anchor = "start") {
  const made = shape("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}

// Where the first (or the last) few of all that weighs begin: one wrong clock must not squeeze the rest.
function edge(entries, time, weight, share) {
  const sorted = [...entries].sort((a, b) => time(a) - time(b));
  let left = sorted.reduce((sum, entry) => sum + weight(entry), 0) * share;
  return time(sorted.find((entry) => (left -= weight(entry)) < 0) ?? sorted.at(-1));
}

function columns(items, time, from, to, count) {
  const made = Array.from({ length: count }, () => []);
  const span = Math.max(to - from, 1);
  for (const item of items) made[Math.min(count - 1, Math.max(0, Math.floor(((time(item) - from) / span) * count)))].push(item);
  return made;
}

// One element, drawn anew in place: one in its stead would take the keyboard's focus away.
const chart = shape("svg", { role: "application", tabindex: 0, "aria-describedby": "time-help" });
element("time").append(chart);

function timeLine() {
  const came = rows.filter(({ row }) => isObject(row) && row[CAME] !== null && row[BYTES] > 0);
  for (const [second, state, bytes, count] of data.roots.flatMap((root) => root.times)) {
    if (bytes > 0) came.push({ row: { [CAME]: second, [STATE]: state, [BYTES]: bytes, [COUNT]: count } });
  }
  const leases = rows.flatMap(({ row }) => row[LEASES].map((end) => ({ row, end })));
  const ends = leases.filter(({ end }) => end !== null && end >= data.now);
  const past = leases.filter(({ end }) => end !== null && end < data.now).length;
  const never = leases.filter(({ end }) => end === null).length;
  element("time-words").textContent = [
    came.length ? `${size(came.reduce((sum, { row }) => sum + row[BYTES], 0))} in ${counted(things(came), "object")} with a time.` : "No object has a time.",
    `${counted(leases.length, "lease")}: ${ends.length} with an end to come, ${past} past the end, ${never} without an end.`,
  ].join(" ");
  const width = isPrinted ? PAPER.width : chart.parentElement.clientWidth;
  chart.replaceChildren();
  chart.setAttribute("viewBox", `0 0 ${width} 210`);
  chart.setAttribute("aria-label", element("time-words").textContent);
  const now = ends.length ? Math.round(width * 0.68) : width - 40;
  if (came.length) arrivals(came, now);
  chart.append(shape("line", { x1: 0, y1: TOP + HEIGHT, x2: width, y2: TOP + HEIGHT }));
  chart.append(shape("line", { x1: now, y1: 0, x2: now, y2: TOP + HEIGHT, class: "now" }), label(now, TOP + HEIGHT + 34, "now", "middle"));
  if (ends.length) future(ends, now, width);
}

function point(part) {
  chart.querySelector(".chosen")?.classList.remove("chosen");
  part.classList.add("chosen");
  element("time-info").textContent = part.dataset.words;
}

function arrivals(came, now) {
  const from = edge(came, ({ row }) => row[CAME], ({ row }) => row[BYTES], 0.005);
  const count = Math.max(10, Math.floor(now / 14)), step = now / count;
  const steps = columns(came, ({ row }) => row[CAME], from, data.now, count);
  const sums = steps.map((items) => items.reduce((sum, { row }) => sum + row[BYTES], 0));
  const most = Math.max(...sums);
  steps.forEach((items, place) => {
    let y = TOP + HEIGHT;
    const start = from + ((data.now - from) / count) * place;
    for (const state of STATES) {
      const bytes = items.reduce((sum, { row }) => sum + (row[STATE] === state ? row[BYTES] : 0), 0);
      if (!bytes) continue;
      const height = Math.max(2, (bytes / most) * HEIGHT);
      y -= height;
      chart.append(shape("rect", { x: place * step, y, width: Math.max(step - 2, 2), height, class: `state-${tone(state)}`, "data-words": `from ${when(Math.floor(start))}: ${size(bytes)} ${state}` }));
    }
  });
  chart.append(label(0, TOP + HEIGHT + 18, `${came.some(({ row }) => row[CAME] < from) ? "before " : ""}${when(from)}`), label(0, 10, `came; the highest is ${size(most)}`));
}

function future(ends, now, width) {
  const to = edge(ends, ({ end }) => end, () => 1, 0.95);
  const room = width - now - 8, count = Math.max(4, Math.floor(room / 14)), step = room / count;
  const steps = columns(ends, ({ end }) => end, data.now, to, count);
  const most = Math.max(...steps.map((items) => items.length));
  steps.forEach((items, place) => {
    if (!items.length) return;
    const height = Math.max(4, (items.length / most) * HEIGHT);
    const frees = [...new Set(items.map(({ row }) => row))].reduce((sum, row) => sum + (row[ONLY] ?? 0), 0);
    const names = items.slice(0, 5).map(({ row, end }) => `${row[WHAT]} ${row[NAME]}: ends ${when(end)}`).join("; ");
    chart.append(shape("rect", { x: now + 6 + place * step, y: TOP + HEIGHT - height, width: Math.max(step - 2, 2), height, class: "state-leased", "data-words": `${counted(items.length, "lease")}, ${size(frees)}: ${names}` }));
  });
  chart.append(label(now + 6, 10, `${counted(ends.length, "lease")} to end`), label(width, TOP + HEIGHT + 18, `${when(to)}${ends.some(({ end }) => end > to) ? " or later" : ""}`, "end"));
}

for (const kind of ["pointermove", "pointerdown"]) {
  chart.addEventListener(kind, ({ target }) => target.matches("rect") && point(target));
}
chart.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key], parts = [...chart.querySelectorAll("rect")];
  if (!way || !parts.length) return;
  const at = parts.findIndex((part) => part.classList.contains("chosen"));
  // Without one that is chosen: the first to the right, the last to the left.
  point(parts[Math.min(parts.length - 1, Math.max(0, at < 0 && way < 0 ? parts.length - 1 : at + way))]);
  event.preventDefault();
});
new ResizeObserver(timeLine).observe(element("time"));
