// The treemap: one canvas, laid out for the place that is looked at.
const canvas = element("map");
const HEAD = 20;
const SHARED = "shared: several hold it; it is here once, and stays until the last of them goes";
const whole = plant();
let focus = whole;
let chosen = null;
let laid = null;
// What is drawn without the mark of what is chosen: a mouse that moves must not lay out twenty thousand things.
const ground = document.createElement("canvas");

function plant() {
  const leaf = (root, number) => (place) => ({ entry: { row: root.rows[place], root, number }, bytes: root.rows[place][BYTES], name: root.rows[place][NAME], children: null });
  const many = ([state, count, bytes]) => ({ entry: null, state, count, bytes, name: counted(count, "smaller object"), children: null });
  const branch = (root, number) => ([kind, name, bytes, count, shared, row, branches, objects, smaller]) => {
    const made = {
      kind, name, bytes, count, shared: Boolean(shared),
      entry: row === null ? null : { row: root.rows[row], root, number },
      children: [...branches.map(branch(root, number)), ...objects.filter((place) => root.rows[place][BYTES] > 0).map(leaf(root, number)), ...smaller.map(many).filter((node) => node.bytes > 0)],
    };
    if (!made.children.length) made.children = null;
    for (const child of made.children ?? []) child.above = made;
    return made;
  };
  const roots = data.roots.map((root, number) => branch(root, number)(root.tree));
  if (roots.length === 1) return roots[0];
  const made = { kind: "host", name: "all roots", bytes: roots.reduce((sum, root) => sum + root.bytes, 0), children: roots, shared: false, entry: null };
  for (const root of roots) root.above = made;
  return made;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// How many pixels a unit of the map has.
function pixels() {
  return isPrinted ? 3 : window.devicePixelRatio || 1;
}

function lay() {
  const box = isPrinted ? PAPER : canvas.parentElement.getBoundingClientRect();
  laid = laidOut(focus, box.width, box.height, (node) => (!node.parent ? 0 : node.x1 - node.x0 > 44 && node.y1 - node.y0 > 44 ? HEAD : 2));
  for (const node of downward(laid)) node.data.at = node;
  return box;
}

// On paper each state's pattern, with black on white; else its colour, and white or near black for what is written on it: the one that stands out more (WCAG 2.2, relative luminance).
function inks(context, ratio) {
  if (isPrinted) return Object.fromEntries(Object.keys(PATTERNS).map((name) => [name, [canvasPattern(context, name, ratio), "#000000"]]));
  const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (hex) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => sum + share * channel(parseInt(hex.slice(2 * at + 1, 2 * at + 3), 16) / 255), 0.05);
  const front = (hex) => (light("#ffffff") / light(hex) > light(hex) / light("#10161c") ? "#ffffff" : "#10161c");
  return Object.fromEntries([...STATES, "volumes", "logs", "none"].map((state) => [state, [colour(state), front(colour(state))]]));
}

// As much of a text as there is room for: its beginning, or where that says little its end, from a slash on if that fits.
function fitted(context, text, room, end = false) {
  const fits = (words) => context.measureText(words).width <= room;
  if (fits(text)) return text;
  for (let slash = text.indexOf("/"); end && slash >= 0; slash = text.indexOf("/", slash + 1)) {
    if (fits(`…${text.slice(slash)}`)) return `…${text.slice(slash)}`;
  }
  const cut = (length) => (end ? "…" + text.slice(text.length - length) : text.slice(0, length) + "…");
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(cut(middle))) low = middle;
    else high = middle - 1;
  }
  return low > 2 ? cut(low) : "";
}

function short(entry) {
  const digest = /^sha256:[0-9a-f]{64}$/.test(entry.row[NAME]);
  return digest ? `${entry.row[WHAT]} ${entry.row[NAME].slice(7, 15)}` : `${entry.row[WHAT]} ${entry.row[NAME]}`;
}

function draw() {
  const box = lay();
  const ratio = pixels();
  canvas.width = ground.width = Math.round(box.width * ratio);
  canvas.height = ground.height = Math.round(box.height * ratio);
  const context = ground.getContext("2d");
  context.scale(ratio, ratio);
  const tones = inks(context, ratio);
  const [group, ink, card, line] = isPrinted ? ["#ffffff", "#000000", "#ffffff", "#000000"] : ["group", "ink", "card", "line"].map(colour);
  const family = getComputedStyle(document.body).fontFamily;
  context.textBaseline = "middle";
  for (const node of downward(laid)) {
    const { x0, y0, x1, y1 } = node, width = x1 - x0, height = y1 - y0;
    if (node === laid || width <= 0 || height <= 0) continue;
    if (node.children) {
      context.fillStyle = node.depth % 2 ? group : card;
      context.fillRect(x0, y0, width, height);
      context.strokeStyle = line;
      if (width > 4 && height > 4) context.strokeRect(x0 + 0.5, y0 + 0.5, width - 1, height - 1);
      if (width > 44 && height > 44) {
        context.fillStyle = ink;
        context.font = `${node.depth === 1 ? "600 " : ""}12px ${family}`;
        const amount = size(node.value), room = context.measureText(amount).width;
        const isImage = node.data.kind === "image";
        const name = isImage || node.data.kind === "group" || node.data.kind === "root" ? node.data.name : `${node.data.kind} ${node.data.name}`;
        const beside = width - 14 - room > 60;
        context.fillText(fitted(context, name, width - 10 - (beside ? room + 6 : 0), isImage), x0 + 5, y0 + HEAD / 2 + 1);
        if (beside) context.fillText(amount, x1 - 5 - room, y0 + HEAD / 2 + 1);
      }
      continue;
    }
    const entry = node.data.entry, [back, front] = tones[entry ? hue(entry.row) : node.data.state ?? "none"];
    context.fillStyle = back;
    context.fillRect(x0, y0, Math.max(width, 0.5), Math.max(height, 0.5));
    if (isPrinted) context.strokeRect(x0, y0, width, height);
    if (node.parent.data.shared && width > 6 && height > 6) hatch(context, node, front);
    if (width > 54 && height > 16) {
      context.fillStyle = front;
      context.font = `12px ${family}`;
      const top = height > 34 ? y0 + 12 : y0 + height / 2;
      const write = (text, y) => {
        if (isPrinted && text) {
          context.fillStyle = "#ffffff";
          context.fillRect(x0 + 3, y - 7, context.measureText(text).width + 4, 14);
          context.fillStyle = front;
        }
        context.fillText(text, x0 + 5, y);
      };
      const words = entry ? [short(entry), entry.row[WHAT]] : [node.data.name], fits = (text) => context.measureText(text).width <= width - 10;
      write(words.find(fits) ?? fitted(context, words.at(-1), width - 10), top);
      // An amount without its unit would be another amount.
      if (height > 34 && fits(size(node.value))) write(size(node.value), y0 + 27);
    }
  }
  if (!laid.children) {
    context.fillStyle = ink;
    context.font = `14px ${family}`;
    context.fillText("Nothing here takes space.", 12, 24);
  }
  mark();
}

function mark() {
  const ratio = pixels(), context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (ground.width) context.drawImage(ground, 0, 0);
  const at = chosen?.at;
  if (!at || at.data !== chosen || isPrinted) return;
  context.scale(ratio, ratio);
  context.lineWidth = 3;
  context.strokeStyle = colour("ink");
  context.strokeRect(at.x0 + 1.5, at.y0 + 1.5, Math.max(at.x1 - at.x0 - 3, 1), Math.max(at.y1 - at.y0 - 3, 1));
}

function hatch(context, { x0, y0, x1, y1 }, front) {
  context.save();
  if (isPrinted) {
    // A second, broken line within the first: lines across would be a pattern of a state.
    context.setLineDash([3, 2]);
    context.strokeRect(x0 + 2.5, y0 + 2.5, x1 - x0 - 5, y1 - y0 - 5);
    return context.restore();
  }
  context.beginPath();
  context.rect(x0, y0, x1 - x0, y1 - y0);
  context.clip();
  context.globalAlpha = 0.28;
  context.strokeStyle = front;
  context.beginPath();
  for (let x = x0 - (y1 - y0); x < x1; x += 9) {
    context.moveTo(x, y1);
    context.lineTo(x + (y1 - y0), y0);
  }
  context.stroke();
  return context.restore();
}

function tell() {
  const node = chosen ?? focus, above = node.above;
  const said = [node.entry && !node.kind ? `${node.entry.row[WHAT]} ${node.name}` : node.kind && node.kind !== "group" && node.kind !== "root" ? `${node.kind} ${node.name}` : node.name];
  said.push(size(node.bytes));
  if (above) said.push(`${percent(node.bytes, whole.bytes)} of all`);
  if (node.state) said.push(node.state);
  else if (node.count) said.push(counted(node.count, "object"));
  if (node.entry?.row[STATE]) said.push(node.entry.row[STATE]);
  if (node.entry && node.entry.row[ONLY] !== null) said.push(`reaches ${size(node.entry.row[BYTES])}, of which nothing else reaches ${size(node.entry.row[ONLY])}`);
  if (node.shared || above?.shared) said.push(SHARED);
  const parts = [said.join(" · ")];
  if (node.entry) parts.push(" ", make("button", { type: "button", onclick: () => show(node.entry) }, "Details"));
  element("map-info").replaceChildren(...parts);
}

function go(node) {
  const from = focus;
  focus = node;
  chosen = null;
  for (let at = from; at; at = at.above) if (at.above === focus) chosen = at;
  const path = [];
  for (let at = focus; at; at = at.above) path.unshift(at);
  const crumbs = path.flatMap((at, place) => {
    const button = make("button", { type: "button", onclick: () => go(at), "aria-current": at === focus ? "true" : null }, at.kind === "root" || at.kind === "group" ? at.name : `${at.kind ?? ""} ${at.name}`);
    return place ? [make("span", {}, "›"), button] : [button];
  });
  element("crumbs").replaceChildren(...crumbs);
  draw();
  tell();
}

function under(event) {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  let at = laid;
  const inside = (node) => node.x0 <= x && x < node.x1 && node.y0 <= y && y < node.y1;
  for (let next = at; next; next = at.children?.find(inside)) at = next;
  return at === laid ? null : at;
}

function enter(node) {
  if (node.children) go(node);
  else if (node.entry) show(node.entry);
}

canvas.addEventListener("mousemove", (event) => {
  const at = under(event)?.data ?? null;
  if (at !== chosen) {
    chosen = at;
    mark();
    tell();
  }
});
canvas.addEventListener("mouseleave", () => {
  chosen = null;
  mark();
  tell();
});
canvas.addEventListener("click", (event) => {
  let at = under(event);
  while (at && at.parent !== laid) at = at.parent;
  if (at) enter(at.data);
});

const SIDES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  const side = SIDES[event.key];
  const near = laid.children ?? [];
  if (side && near.length) chosen = beside(near, side);
  else if (event.key === "PageDown" && near.length) chosen = along(near, 1);
  else if (event.key === "PageUp" && near.length) chosen = along(near, -1);
  else if (event.key === "Enter" && chosen) return event.preventDefault(), enter(chosen);
  else if ((event.key === "Escape" || event.key === "Backspace") && focus.above) return event.preventDefault(), go(focus.above);
  else if (event.key === "Home") return event.preventDefault(), go(whole);
  else return undefined;
  event.preventDefault();
  mark();
  return tell();
});

function beside(near, [dx, dy]) {
  const from = near.find((node) => node.data === chosen);
  if (!from) return near[0].data;
  const middle = (node) => [(node.x0 + node.x1) / 2, (node.y0 + node.y1) / 2];
  const [x, y] = middle(from);
  let best = null, least = Infinity;
  for (const node of near) {
    const [toX, toY] = middle(node), along = (toX - x) * dx + (toY - y) * dy, across = Math.abs((toX - x) * dy) + Math.abs((toY - y) * dx);
    if (node === from || along <= 0) continue;
    const cost = along + 2 * across;
    if (cost < least) [best, least] = [node, cost];
  }
  return (best ?? from).data;
}

// The next one by size: arrows alone need not come to everything.
function along(near, step) {
  const place = near.findIndex((node) => node.data === chosen);
  return near[place < 0 ? 0 : (place + step + near.length) % near.length].data;
}

new ResizeObserver(draw).observe(canvas.parentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
if (data.roots.length) go(whole);
