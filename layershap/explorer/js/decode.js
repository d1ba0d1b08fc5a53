// Numbers and coalitions as they lie in the page: base64 of little-endian bytes.

function bytes(text) {
  const raw = atob(text);
  const result = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) result[i] = raw.charCodeAt(i);
  return result;
}

/** Returns the numbers of an array, row by row, as doubles. */
export function numbers(packed) {
  const { buffer } = bytes(packed.data);
  const found = packed.kind === "f4" ? new Float32Array(buffer) : new Float64Array(buffer);
  const expected = packed.shape.reduce((a, b) => a * b, 1);
  if (found.length !== expected) throw new Error(`array holds ${found.length} of ${expected} numbers`);
  return Float64Array.from(found);
}

/** Returns coalitions as rows of 0 and 1, 1 = kept. */
export function coalitions(packed) {
  const [count, n] = packed.shape;
  const data = bytes(packed.data);
  const width = Math.ceil(n / 8);
  return Array.from({ length: count }, (_, row) =>
    Uint8Array.from({ length: n }, (_, i) => (data[row * width + (i >> 3)] >> (i & 7)) & 1),
  );
}
