// The map as the server sends it: a head in JSON, columns of numbers, and names at the end.

/** Columns of an answer of /api/map; `x` and `y` lie within -1 and 1, ids and paths are read on demand. */
export function read(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const text = (from, to) => new TextDecoder().decode(new Uint8Array(buffer, from, to - from));
  const head = JSON.parse(text(4, 4 + length));
  const n = head.n;
  let at = 4 + length;
  const floats = (count) => { at += 4 * count; return new Float32Array(buffer, at - 4 * count, count); };
  const x = floats(n), y = floats(n);
  const facets = head.facets.map((facet) => {
    at += 2 * n;
    return { ...facet, codes: new Uint16Array(buffer, at - 2 * n, n) };
  });
  const from = at;
  let names = null;
  const named = () => (names ??= JSON.parse(text(from, buffer.byteLength)));
  return { ...head, ...fitted(x, y), facets, id: (row) => named().ids[row], path: (row) => named().paths[row] };
}

/** Both columns on one scale, the longer side from -1 to 1: the places themselves have no unit. */
function fitted(x, y) {
  const ends = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
  const [left, right] = ends(x), [low, high] = ends(y);
  const half = Math.max(right - left, high - low) / 2 || 1;
  return { x: x.map((v) => (v - (left + right) / 2) / half), y: y.map((v) => (v - (low + high) / 2) / half) };
}
