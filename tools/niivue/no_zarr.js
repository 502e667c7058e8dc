// Stands in for zarrita.
const missing = () => { throw new Error("Zarr is left out of this build"); };
export const open = missing, root = missing, get = missing, FetchStore = missing, registry = new Map();
