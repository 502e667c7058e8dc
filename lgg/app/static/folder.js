// Runs once with `element` from Gradio: a folder that is dropped on the series' zone, or chosen, is handed to the
// zone as the files below it. Gradio 6.31 would send the folder itself, as a file that cannot be read.
const controls = element.closest("#series-controls"), zone = controls.querySelector("#series-upload");
const said = element.querySelector("[role=status]"), most = Number(said.dataset.most);
const NOISE = /\/(\.|Thumbs\.db$|desktop\.ini$|__MACOSX\/)/; // as the command line leaves out
const CLEAR = "button[aria-label*=lear]";
let picker; // while it is open, or the browser may forget it

const below = async entry => {
    if (entry.isFile) return [{path: entry.fullPath, file: await new Promise((done, fail) => entry.file(done, fail))}];
    const reader = entry.createReader(), inside = [];
    const next = () => new Promise((done, fail) => reader.readEntries(done, fail));
    for (let some = await next(); some.length; some = await next()) inside.push(...some); // a hundred at a time
    return (await Promise.all(inside.map(below))).flat();
};
// The server does not learn folders: files of one name are told apart as the command line does.
const named = files => {
    const times = new Map();
    for (const {file} of files) times.set(file.name, (times.get(file.name) ?? 0) + 1);
    return files.map(({path, file}) => times.get(file.name) === 1 ? file
        : new File([file], path.split("/").slice(-2).reverse().join(" in ")));
};
const hand = async found => {
    const files = found.filter(({path}) => !NOISE.test(path.replace(/^\/?[^/]*\//, "/")));
    files.sort((one, other) => one.path.localeCompare(other.path, "en", {numeric: true}));
    said.textContent = !files.length ? "There are no files in this folder." : files.length > most
        ? `There are ${files.length} files, and at most ${most} can be read. Choose the folder of one study.` : "";
    if (said.textContent) return;
    zone.querySelector(CLEAR)?.click(); // what is there makes room
    while (zone.querySelector(CLEAR)) await new Promise(done => setTimeout(done, 50));
    const input = zone.querySelector("input[type=file]"), transfer = new DataTransfer();
    for (const file of named(files)) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
};
controls.addEventListener("drop", event => {
    const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!zone.contains(event.target) || !entries.some(entry => entry.isDirectory)) return;
    event.preventDefault();
    event.stopPropagation();
    event.target.dispatchEvent(new DragEvent("dragleave", {bubbles: true})); // the zone's frame fades
    said.textContent = "Reading the folder …";
    Promise.all(entries.map(below)).then(files => hand(files.flat())).catch(() => {
        said.textContent = "The folder cannot be read.";
    });
}, true);
controls.addEventListener("click", event => {
    if (!event.target.closest("#series-folder")) return;
    picker = Object.assign(document.createElement("input"), {type: "file", webkitdirectory: true, multiple: true});
    picker.onchange = () => hand([...picker.files].map(file => ({path: file.webkitRelativePath || file.name, file})));
    picker.click();
});
