// What a colour stands for: a few values by name, the rest as one, and those without a value in grey.

export const NAMED = 7;

/** Colours on light and on dark ground, apart for colour-blind people too (a test measures it), and shapes. */
export const STYLES = [
  { light: "#676cd3", dark: "#0d72f2", shape: "symbolCircle" },
  { light: "#f43375", dark: "#ef6269", shape: "symbolSquare" },
  { light: "#259819", dark: "#3af18e", shape: "symbolTriangle" },
  { light: "#6d4c00", dark: "#af8d19", shape: "symbolDiamond", wide: 1.35 },
  { light: "#ae0b91", dark: "#cb37ac", shape: "symbolCross" },
  { light: "#336946", dark: "#67baa6", shape: "symbolStar" },
  { light: "#4f2f59", dark: "#adb5ed", shape: "symbolWye" },
  { light: "#1c2327", dark: "#f4f7f8", shape: "symbolSquare" },
];
export const NOTHING = { light: "#8b9699", dark: "#6b7c82", shape: "symbolCircle", wide: 0.6 };

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
