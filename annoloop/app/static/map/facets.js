// What a colour stands for: a few values by name, the rest as one, and those without a value in grey.

export const NAMED = 7;

/** Colours on light and on dark ground. Each goes with a shape of its own, for who cannot tell them apart. */
export const STYLES = [
  { light: "#0f5fb4", dark: "#6aaeff", shape: "symbolCircle" },
  { light: "#c2410c", dark: "#ff9a52", shape: "symbolSquare" },
  { light: "#0b7a63", dark: "#45d6b0", shape: "symbolTriangle" },
  { light: "#a3318f", dark: "#f08fdc", shape: "symbolDiamond", wide: 1.35 },
  { light: "#8a6a00", dark: "#e8cf4d", shape: "symbolCross" },
  { light: "#3f2a8c", dark: "#c4b5fd", shape: "symbolStar" },
  { light: "#4b1d0e", dark: "#fbe3d4", shape: "symbolWye" },
  { light: "#5d6b70", dark: "#9fb0b5", shape: "symbolSquare" },
];
export const NOTHING = { light: "#a9b3b5", dark: "#4f5f64", shape: "symbolCircle", wide: 0.8 };

/**
 * The groups of a facet, as they stand in the legend: each has its rows and its style. Value 0 means
 * that there is none. Of more than NAMED + 1 other values the commonest NAMED keep their names.
 */
export function groups({ values, codes }) {
  const counts = new Uint32Array(values.length);
  for (const code of codes) counts[code] += 1;
  const there = [...counts.keys()].filter((code) => code && counts[code]);
  const few = there.length <= NAMED + 1;
  const common = few ? there : [...there].sort((a, b) => counts[b] - counts[a] || a - b).slice(0, NAMED).sort((a, b) => a - b);
  const made = common.map((code, at) => ({ name: values[code], style: STYLES[at], count: counts[code] }));
  const place = new Int16Array(values.length).fill(-1);
  common.forEach((code, at) => { place[code] = at; });
  if (!few) {
    const rest = there.filter((code) => place[code] < 0);
    rest.forEach((code) => { place[code] = made.length; });
    made.push({ name: `${rest.length} others`, style: STYLES[NAMED], count: rest.reduce((sum, code) => sum + counts[code], 0) });
  }
  if (counts[0]) {
    place[0] = made.length;
    made.push({ name: values[0], style: NOTHING, count: counts[0] });
  }
  made.forEach((group) => { group.rows = new Uint32Array(group.count); group.filled = 0; });
  for (let row = 0; row < codes.length; row += 1) {
    const group = made[place[codes[row]]];
    group.rows[group.filled] = row;
    group.filled += 1;
  }
  return made;
}
