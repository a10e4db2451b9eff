// One thing in full: facts, what holds it, what to type.
const dialog = element("detail");

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) && !word.startsWith("-") ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function chain(root, start) {
  const steps = [];
  for (let at = start; at !== null && at !== undefined && steps.length < 500; at = root.links[at][1]) steps.unshift(root.links[at]);
  return steps.map(([name, , how], place) => (place ? `holds ${name}, ${how}` : `${name}: ${how}`));
}

function show({ row, root }) {
  const body = element("detail-body");
  element("detail-title").textContent = row[NAME];
  const facts = make("dl");
  const fact = (word, ...value) => facts.append(make("dt", {}, word), make("dd", {}, ...value));
  fact("is", row[KIND] === "finding" ? `finding ${row[WHAT]}` : row[WHAT]);
  if (row[STATE]) fact("state", dot(row[STATE]), row[STATE]);
  if (row[BYTES] !== null) fact("size", `${size(row[BYTES])} (${row[BYTES]} bytes)`);
  if (row[ONLY] !== null) fact("frees alone", `${size(row[ONLY])}: nothing else holds it`);
  if (row[ONLY] !== null && row[BYTES] > row[ONLY]) fact("shared", `${size(row[BYTES] - row[ONLY])}: something else holds it too, and it stays until the last of them goes`);
  if (row[CAME] !== null) fact("came", `${when(row[CAME])} UTC`);
  if (row[ENDS] !== null) fact("ends", `${when(row[ENDS])} UTC`);
  for (const [word, value] of row[FACTS]) fact(word, value);
  body.replaceChildren(facts);
  for (const link of row[LINKS]) {
    body.append(make("h3", {}, "Held by"), make("ol", { class: "chain" }, ...chain(root, link).map((step) => make("li", {}, step))));
  }
  if (row[COUNT] > 1) body.append(make("p", {}, "They share a line here, so that the page stays fast. The JSON document and the CSV file list them one by one."), make("p", { class: "command" }, make("code", {}, `drydock scan --format csv -o objects.csv${data.where}`)));
  else if (!row[LINKS].length && isObject(row)) body.append(make("h3", {}, "Held by nothing"));
  if (row[WORD] && row[KIND] !== "finding") {
    const dashes = row[WORD].startsWith("-") ? "-- " : "";
    const command = row[KIND] === "pull" ? `drydock pulls${data.where}` : `drydock explain ${dashes}${quoted(row[WORD])}${data.where}`;
    body.append(make("p", { class: "command" }, make("code", {}, command)));
  }
  dialog.showModal();
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
