// Builds lgg/app/niivue/niivue-VERSION.js: `npm ci --ignore-scripts && node node_modules/esbuild/install.js
// && node build.mjs`. Write the SHA-256 that it prints into lgg/app/viewer.py.
import {createHash} from "node:crypto";
import {mkdirSync, readFileSync} from "node:fs";
import {build} from "esbuild";

const {version} = JSON.parse(readFileSync("node_modules/@niivue/niivue/package.json"));
const outfile = `../../lgg/app/niivue/niivue-${version}.js`;
mkdirSync("../../lgg/app/niivue", {recursive: true});
await build({
    entryPoints: ["entry.js"],
    outfile,
    bundle: true,
    minify: true,
    format: "iife",
    globalName: "niivue",
    target: "es2022",
    legalComments: "none", // they stand in LICENSES.txt
    // Only for Zarr, an image format in the cloud, which the page never reads: two thirds of the file.
    alias: {zarrita: "./no_zarr.js"},
});
console.log(createHash("sha256").update(readFileSync(outfile)).digest("hex"));
