// Squarified treemaps: each row is filled for as long as that brings its tiles nearer to squares
// (the method of Bruls, Huizing and van Wijk, 2000). Trees may be as deep as a store makes them: nothing here recurses.
const OUTER = 2, INNER = 1;

// What is drawn for a tree of data: value (bytes of all leaves below), children (largest first), depth, parent, and a place.
function measured(top) {
  const root = { data: top, parent: null, depth: 0, children: null, value: 0 };
  const order = [root];
  for (let next = 0; next < order.length; next++) {
    const node = order[next];
    if (!node.data.children) continue;
    node.children = node.data.children.map((data) => ({ data, parent: node, depth: node.depth + 1, children: null, value: 0 }));
    order.push(...node.children);
  }
  for (let last = order.length - 1; last >= 0; last--) {
    const node = order[last];
    if (!node.children) node.value = node.data.bytes;
    else node.children.sort((a, b) => b.value - a.value);
    if (node.parent) node.parent.value += node.value;
  }
  return root;
}

// Gives every node its place (x0, y0, x1, y1) in width by height; head(node) is the room above a node's children.
function laidOut(top, width, height, head) {
  const root = measured(top);
  Object.assign(root, { x0: 0, y0: 0, x1: width, y1: height });
  const stack = [root];
  while (stack.length) {
    const node = stack.pop();
    if (!node.children) continue;
    const half = INNER / 2;
    const room = {
      x0: node.x0 + OUTER - half, y0: node.y0 + head(node) - half,
      x1: node.x1 - OUTER + half, y1: node.y1 - OUTER + half,
    };
    if (room.x1 < room.x0) room.x0 = room.x1 = (room.x0 + room.x1) / 2;
    if (room.y1 < room.y0) room.y0 = room.y1 = (room.y0 + room.y1) / 2;
    tile(node.children, node.value, room);
    for (const child of node.children) {
      Object.assign(child, { x0: child.x0 + half, y0: child.y0 + half, x1: child.x1 - half, y1: child.y1 - half });
      if (child.x1 < child.x0) child.x0 = child.x1 = (child.x0 + child.x1) / 2;
      if (child.y1 < child.y0) child.y0 = child.y1 = (child.y0 + child.y1) / 2;
      stack.push(child);
    }
  }
  return root;
}

// Every node, each before what is below it.
function* downward(root) {
  const stack = [root];
  while (stack.length) {
    const node = stack.pop();
    yield node;
    for (let last = (node.children?.length ?? 0) - 1; last >= 0; last--) stack.push(node.children[last]);
  }
}

function tile(nodes, value, room) {
  let { x0, y0 } = room, left = value, first = 0;
  while (first < nodes.length) {
    const width = room.x1 - x0, height = room.y1 - y0;
    const scale = left > 0 ? (width * height) / left : 0;
    const side = Math.min(width, height);
    let sum = 0, count = 0, worst = Infinity;
    while (first + count < nodes.length) {
      const more = sum + nodes[first + count].value;
      const squared = more * more * scale;
      const largest = nodes[first].value, smallest = nodes[first + count].value;
      const ratio = Math.max((side * side * largest) / squared, smallest > 0 ? squared / (side * side * smallest) : Infinity);
      if (count && ratio > worst) break;
      sum = more;
      worst = ratio;
      count += 1;
    }
    const thick = left > 0 ? ((width >= height ? width : height) * sum) / left : 0;
    let at = width >= height ? y0 : x0;
    for (const node of nodes.slice(first, first + count)) {
      const long = sum > 0 ? (side * node.value) / sum : 0;
      if (width >= height) Object.assign(node, { x0, y0: at, x1: x0 + thick, y1: at + long });
      else Object.assign(node, { x0: at, y0, x1: at + long, y1: y0 + thick });
      at += long;
    }
    if (width >= height) x0 += thick;
    else y0 += thick;
    left -= sum;
    first += count;
  }
}
