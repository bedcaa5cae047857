// The legend, the list of chosen images, and what is said of one. Text is set as text.

export const LISTED = 200;
const SVG = "http://www.w3.org/2000/svg";

export const number = (n) => n.toLocaleString("en");
export const images = (n) => (n === 1 ? "1 image" : `${number(n)} images`);

function made(tag, text, kind) {
  const one = document.createElement(tag);
  if (text !== undefined) one.textContent = text;
  if (kind) one.className = kind;
  return one;
}

/** The shape and colour of a group, as it is on the map. */
function swatch({ shape, wide = 1 }, colour) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "-9 -9 18 18");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", window.d3.symbol(window.d3[shape], 105 * wide)());
  path.setAttribute("fill", colour);
  svg.append(path);
  return svg;
}

/** One button a group: pressed while its points are shown. */
export function showLegend(list, groups, hidden, { colour, toggle }) {
  list.replaceChildren(...groups.map((group) => {
    const li = made("li"), button = made("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    button.append(swatch(group.style, colour(group.style)), made("span", group.name), made("small", number(group.count)));
    button.addEventListener("click", () => toggle(group));
    li.append(button);
    return li;
  }));
}

/** What is known of an image, in words; what there is not is left out. */
export function facts(map, row) {
  return map.facets.filter(({ codes }) => codes[row]).map(({ name, values, codes }) => [name, values[codes[row]]]);
}

export function picture(id, lazy) {
  const image = made("img");
  Object.assign(image, { alt: "", width: 96, height: 72, decoding: "async" });
  if (lazy) image.loading = "lazy";
  image.src = `/thumb/${id}`;
  return image;
}

/** The first of the chosen rows, each a link to its image. */
export function showChosen(list, map, rows) {
  list.replaceChildren(...rows.slice(0, LISTED).map((row) => {
    const li = made("li"), link = made("a"), words = made("span");
    link.href = `/sample/${map.id(row)}`;
    words.append(made("b", map.path(row)), made("small", facts(map, row).map(([, value]) => value).join(" · ")));
    link.append(picture(map.id(row), true), words);
    li.append(link);
    return li;
  }));
}

/** The card of the image under the pointer. */
export function showCard(card, map, row) {
  const list = made("dl");
  for (const [name, value] of facts(map, row)) {
    const pair = made("div");
    pair.append(made("dt", name), made("dd", value));
    list.append(pair);
  }
  card.replaceChildren(picture(map.id(row), false), made("b", map.path(row)), list);
}
