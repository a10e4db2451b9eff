// What changes on paper: states by pattern, since it may be printed without colours, and sizes that fit A4.
const PATTERNS = {
  live: "", leased: "M-1 1L1 -1M0 8L8 0M7 9L9 7", unreachable: "M0 6L4 2L8 6", orphaned: "M0 0L8 8M8 0L0 8",
  missing: "M0 2h8M0 6h8", corrupt: "M0 2h8M0 6h8M2 0v8M6 0v8", foreign: "M2 0v8M6 0v8",
  volumes: "M0 0L8 8M-1 7L1 9M7 -1L9 1", logs: "M0 1h8M0 5h8M1 1v4M5 5v4M5 -3v4", none: "M3 4h2",
};
const PATTERN = 8;
const PAPER = { width: 680, height: 430 };
const print = matchMedia("print");
let isPrinted = print.matches;

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The patterns for all drawings of the document, which name them by their ids.
function patterns() {
  const made = shape("svg", { width: 0, height: 0, class: "patterns", "aria-hidden": "true" });
  for (const [name, d] of Object.entries(PATTERNS)) {
    const pattern = shape("pattern", { id: `pattern-${name}`, width: PATTERN, height: PATTERN, patternUnits: "userSpaceOnUse" });
    pattern.append(shape("rect", { width: PATTERN, height: PATTERN, fill: "#fff" }), shape("path", { d, stroke: "#000", fill: "none" }));
    made.append(pattern);
  }
  return made;
}

function swatch() {
  const made = shape("svg", { class: "swatch", "aria-hidden": "true" });
  made.append(shape("rect", { width: "100%", height: "100%" }));
  return made;
}

// The same pattern for a canvas whose pixels are so much finer than its units.
function canvasPattern(context, name, ratio) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = PATTERN * ratio;
  const on = tile.getContext("2d");
  on.scale(ratio, ratio);
  on.fillStyle = "#ffffff";
  on.fillRect(0, 0, PATTERN, PATTERN);
  on.stroke(new Path2D(PATTERNS[name]));
  const made = context.createPattern(tile, "repeat");
  made.setTransform(new DOMMatrix().scale(1 / ratio));
  return made;
}

function turnTo(paper) {
  if (paper === isPrinted) return;
  isPrinted = paper;
  for (const each of document.querySelectorAll("details")) {
    if (paper) each.dataset.open = String(each.open);
    each.open = paper || each.dataset.open === "true";
  }
  draw();
  timeLine();
}

element("map-title").before(patterns());
for (const each of document.querySelectorAll(".dot, .bar li")) each.append(swatch());
// Firefox and Chromium send these before and after they lay out the paper; the other is for a view of it on the screen.
addEventListener("beforeprint", () => turnTo(true));
addEventListener("afterprint", () => turnTo(print.matches));
print.addEventListener("change", () => turnTo(print.matches));
