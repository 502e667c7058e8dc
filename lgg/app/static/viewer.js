// Runs once with `element`, `props`, `watch` and `trigger` from Gradio: NiiVue over what `lgg.app.viewer` sends.
// Nothing here asks the server but for a volume that is looked at for the first time, and, while there is no
// viewer, for the slice to be drawn anew ("redraw").
const viewer = element.querySelector(".viewer"), canvas = viewer.querySelector("canvas");
const where = viewer.querySelector(".where"), without = element.querySelector(".without");
const widthInput = viewer.querySelector("[name=width]"), levelInput = viewer.querySelector("[name=level]");
// What a voxel of NiiVue's drawing stands for, in words and in the server's colours: the outline, or against a ground
// truth what was agreed, missed and invented; then the truth's rim in white, where it is agreed and where missed.
const MARKS = ["outside the outline", "inside the outline", "agreed", "missed", "invented", "agreed", "missed"];
const COLOURS = {
    R: [0, 230, 0, 86, 213, 255, 255], G: [0, 159, 158, 180, 94, 255, 255], B: [0, 0, 115, 233, 0, 255, 255],
    A: [0, 255, 255, 255, 255, 255, 255], labels: MARKS,
};
const NAMES = ["T1 pre", "FLAIR", "T1 post"];
const PLANES = {axial: 0, coronal: 1, sagittal: 2, all: 3, render: 4};
// All planes: axial large, coronal and sagittal beside it, [left, top, width, height] of each. Not 3D: without a
// graphics card it would take a second at every step of the crosshair.
const LAYOUT = [[0, 0, 0.6, 1], [0.6, 0, 0.4, 0.5], [0.6, 0.5, 0.4, 0.5]].map((position, sliceType) => ({sliceType, position}));
const LINE = 1, THIN_LINE = 0.5; // mm that the crosshair is wide, before zooming; while what it covers is drawn on
const STEP = 1.25, LARGEST_ZOOM = 12;
let nv = null, shown = null, failed = false; // shown: what is open, or being opened
const PENS = {brush: 1, eraser: 0}; // what dragging draws
let look = {layer: "fill", channel: 1, opacity: 0.35}, plane, drag, slice = 0, reporting;

const on = () => viewer.classList.contains("on");
const errors = () => look.layer === "errors" && Boolean(shown?.truth);
const drawable = () => ["fill", "outline"].includes(look.layer) || errors(); // the server draws other layers
const pressed = (name, value) => {
    for (const button of viewer.querySelectorAll(`[data-${name}]`))
        button.setAttribute("aria-pressed", button.dataset[name] === value);
};
const giveUp = reason => {
    const redraw = on();
    if (correcting) leaveCorrection();
    failed = true;
    viewer.classList.remove("on");
    viewer.removeAttribute("data-ready");
    without.textContent = `${reason} The slices are drawn by the server.`;
    if (redraw) trigger("redraw", {});
};

// NiiVue, when it is needed first.
const load = url => window.niivue ? Promise.resolve() : new Promise((done, fail) => {
    const script = document.createElement("script");
    Object.assign(script, {src: url, onload: done, onerror: () => fail(Error("script"))});
    document.head.append(script);
});
const start = async script => {
    const context = canvas.getContext("webgl2", {alpha: true, antialias: false});
    if (!context) throw Error("webgl");
    await load(script.url);
    const {Niivue, cmapper} = window.niivue;
    const made = new Niivue({
        logLevel: "error", dragAndDropEnabled: false, loadingText: "", isRadiologicalConvention: true,
        crosshairWidthUnit: "mm", crosshairWidth: LINE, crosshairGap: 4, crosshairColor: [0.37, 0.92, 0.83, 0.8],
        fontColor: [0.8, 0.8, 0.8, 1], isForceMouseClickToVoxelCenters: true,
    });
    // Of two dabs it would make a double click, which sets another window.
    const resetWindow = made.resetBriCon;
    made.resetBriCon = event => { if (!(drag in PENS)) resetWindow.call(made, event); };
    await made.attachToCanvas(canvas, false);
    made.drawLut = cmapper.makeDrawLut(COLOURS);
    made.onLocationChange = moved;
    nv = made;
    dragging("crosshair");
};
canvas.addEventListener("webglcontextlost", () => giveUp("The graphics card gave up the viewer."));

// A mask comes as bits on the volume's own grid; it is NiiVue's drawing, whose rim is drawn a pixel wide.
const unpack = async (packed, count) => {
    const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bits = new Uint8Array(await new Response(stream).arrayBuffer()), mask = new Uint8Array(count);
    for (let at = 0; at < count; at++) mask[at] = bits[at >> 3] >> (at & 7) & 1;
    return mask;
};
const pack = async mask => {
    const bits = new Uint8Array(Math.ceil(mask.length / 8));
    for (let at = 0; at < mask.length; at++) bits[at >> 3] |= mask[at] << (at & 7);
    const stream = new Blob([bits]).stream().pipeThrough(new CompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
};
// The masks of the outline and of the truth, 0 or 1 a voxel in rows of `x`, as `MARKS` from 2 on.
const compare = (mask, truth, x) => mask.map((outlined, at) => {
    if (!truth[at]) return outlined ? 4 : 0;
    const rim = !(truth[at - 1] && truth[at + 1] && truth[at - x] && truth[at + x]);
    return (outlined ? 2 : 3) + (rim ? 3 : 0);
});
const drawMask = async study => {
    const {mask: packed, truth: known} = study, against = errors(), [, x, y, z] = nv.volumes[0].dimsRAS;
    let mask = await unpack(packed, x * y * z);
    if (against) mask = compare(mask, await unpack(known, x * y * z), x);
    if (shown !== study || study.mask !== packed || study.truth !== known || errors() !== against) return;
    if (nv.drawBitmap?.length !== mask.length) nv.createEmptyDrawing();
    nv.drawBitmap = mask;
    nv.refreshDrawing(true);
    report();
};
const showLook = () => {
    const rendered = plane === "render";
    nv.drawRimOpacity = rendered ? -1 : 1;
    // At 0 NiiVue would not draw the rim either; in 3D the outline is a solid body.
    nv.drawOpacity = rendered ? 0.9 : look.layer === "outline" ? 0.004 : Math.max(look.opacity, 0.004);
    nv.drawScene();
    viewer.classList.toggle("on", !failed && drawable());
    viewer.classList.toggle("errors", errors());
};

// The sequence that is looked at is the only volume that NiiVue holds; the others wait, once they were read.
const showVolume = async study => {
    const wanted = study.volumes.find(volume => volume.channel === look.channel) ?? study.volumes[0];
    wanted.image ??= await window.niivue.NVImage.loadFromUrl({
        url: wanted.file.url, name: wanted.name, colormap: "gray", cal_min: wanted.black, cal_max: wanted.white,
    });
    if (shown !== study || nv.volumes[0] === wanted.image) return;
    nv.volumes = [];
    nv.addVolume(wanted.image);
    study.current = wanted;
    showWindow();
};
const open = async study => {
    shown = study;
    viewer.removeAttribute("data-ready");
    try {
        if (nv?.gl.isContextLost()) throw Error("webgl");
        if (!nv) await start(study.script);
        if (shown !== study) return;
        clear();
        await showVolume(study);
        if (shown !== study) return;
        await drawMask(study);
    } catch (error) {
        if (shown === study) giveUp({
            webgl: "This browser offers no WebGL2 for the viewer.",
            script: "The viewer could not be loaded.",
        }[error.message] ?? "The viewer could not open this series.");
        return;
    }
    if (shown !== study) return;
    without.textContent = "";
    viewer.classList.toggle("corrected", study.corrected);
    failed = false;
    viewer.classList.toggle("on", drawable());
    nv.resizeListener();
    choosePlane(plane ?? (matchMedia("(max-width: 800px)").matches ? "axial" : "all"));
    reset();
    goTo(study.slice, study.centre);
    viewer.dataset.ready = study.study;
};
// Nothing of a patient stays when another one comes.
const clear = () => {
    if (!nv) return;
    if (correcting) leaveCorrection();
    nv.closeDrawing();
    nv.volumes = [];
    nv.overlays = [];
    nv.back = null;
    nv.drawScene();
};
const take = () => {
    const value = props.value;
    if (!value) {
        shown = null;
        viewer.classList.remove("on");
        viewer.removeAttribute("data-ready");
        where.textContent = without.textContent = "";
        clear();
    } else if (shown?.study === value.study) {
        shown.corrected = value.corrected;
        viewer.classList.toggle("corrected", value.corrected);
        if (value.mask === shown.mask && value.truth === shown.truth) return;
        Object.assign(shown, {mask: value.mask, truth: value.truth});
        if (viewer.dataset.ready && !correcting) drawMask(shown);
    } else if (value.volumes) {
        failed = false;
        open({...value});
    }
};
watch("value", take);
take();

// Where the crosshair is: in words, and for slider and plot.
const report = () => { if (nv?.volumes.length) nv.createOnLocationChange(); };
const moved = ({mm, vox, values}) => {
    if (!shown?.current) return;
    const [, x, y, z] = nv.volumes[0].dimsRAS, number = Math.min(Math.max(Math.round(vox[2]), 0), z - 1) + 1;
    const at = vox[0] + x * (vox[1] + y * vox[2]), place = [...mm].slice(0, 3).map(value => value.toFixed(0));
    where.textContent = [
        `Slice ${number} of ${z}`,
        shown.oriented ? `${place.join(", ")} mm (right, front, top)` : `column ${x - vox[0]}, row ${y - vox[1]}`,
        `${NAMES[shown.current.channel]} ${Number(values[0].value.toPrecision(4))}`,
        MARKS[nv.drawBitmap?.[at] ?? 0],
    ].join(" · ");
    if (number === slice) return;
    slice = number;
    viewer.dataset.slice = number;
    clearTimeout(reporting);
    reporting = setTimeout(() => {
        document.dispatchEvent(new CustomEvent("slice-chosen", {detail: slice}));
        trigger("located", {});
    }, 120);
};
const goTo = (number, centre) => {
    if (!nv?.volumes.length || number === slice && !centre) return;
    slice = number; // and so is not reported back
    viewer.dataset.slice = number;
    const [x, y] = centre ?? nv.frac2vox(nv.scene.crosshairPos);
    nv.scene.crosshairPos = nv.vox2frac([x, y, number - 1]);
    nv.drawScene();
    report();
};
document.addEventListener("slice-chosen", event => { if (viewer.dataset.ready) goTo(event.detail); });
// How it is shown: {layer, channel, opacity}. The server is not asked where the viewer shows it.
document.addEventListener("look-chosen", async ({detail}) => {
    const faded = detail.opacity !== look.opacity, against = errors();
    Object.assign(look, detail);
    if (!viewer.dataset.ready || failed) {
        if (faded) trigger("redraw", {});
        return;
    }
    const back = !on();
    showLook();
    if (faded && !on()) trigger("redraw", {});
    try {
        await showVolume(shown);
        if (errors() !== against) await drawMask(shown);
    } catch {
        where.textContent = "This sequence is gone from the server. Upload the series once more.";
        return;
    }
    if (back && on()) nv.resizeListener();
    report();
});

// Planes, zoom and dragging.
const choosePlane = name => {
    plane = name;
    pressed("plane", name);
    nv.customLayout = name === "all" ? LAYOUT : null;
    nv.setSliceType(PLANES[name]);
    showLook();
};
const reset = () => {
    nv.scene.volScaleMultiplier = 1;
    showZoom([0, 0, 0, 1]);
};
const showZoom = pan => {
    nv.opts.crosshairWidth = (correcting ? THIN_LINE : LINE) / pan[3];
    nv.crosshairs3D = null; // is made anew
    nv.setPan2Dxyzmm(pan);
};
const zoom = factor => {
    if (plane === "render") return nv.setScale(Math.min(Math.max(nv.scene.volScaleMultiplier * factor, 0.5), LARGEST_ZOOM));
    const [x, y, z, before] = nv.scene.pan2Dxyzmm, mm = nv.frac2mm(nv.scene.crosshairPos);
    const after = Math.min(Math.max(before * factor, 1), LARGEST_ZOOM), change = before - after;
    // The crosshair stays where it is.
    showZoom(after === 1 ? [0, 0, 0, 1] : [x + change * mm[0], y + change * mm[1], z + change * mm[2], after]);
};
const dragging = name => {
    const {DRAG_MODE} = window.niivue, pen = PENS[name];
    const mode = pen === undefined ? DRAG_MODE[name] ?? DRAG_MODE.none : DRAG_MODE.crosshair;
    Object.assign(nv.opts, {
        drawingEnabled: pen !== undefined, penValue: pen ?? 1,
        doubleTouchTimeout: pen === undefined ? 500 : 0, // of a second dab it would draw nothing
    });
    nv.setMouseEventConfig({
        leftButton: {primary: mode, withShift: DRAG_MODE.pan, withCtrl: DRAG_MODE.none},
        rightButton: DRAG_MODE.none, centerButton: DRAG_MODE.pan,
    });
    nv.setTouchEventConfig({singleTouch: mode, doubleTouch: mode});
    drag = name;
    pressed("drag", name);
};
viewer.addEventListener("click", event => {
    const {plane: name, zoom: way, drag: mode, correct} = event.target.closest("button")?.dataset ?? {};
    if (!nv?.volumes.length) return;
    if (name) choosePlane(name);
    if (mode) dragging(mode);
    if (correct) corrections[correct]();
    if (way === "reset") {
        reset();
        setWindow(shown.current.black, shown.current.white);
    } else if (way) zoom(way === "in" ? STEP : 1 / STEP);
});

// Correcting the mask in the axial plane, by NiiVue's pen. Its own undoing counts eight strokes and forgets those
// that end beside the picture; here it is the plane as it was before each.
const sizeInput = viewer.querySelector("[name=size]");
let correcting = "", strokes = []; // correcting: the plane that was looked at before
// Of the other controls these would put another outline in its place, hide it, or save the one before.
const holdOthers = held => {
    for (const name of ["layer", "threshold", "gate", "more"]) document.getElementById(`series-${name}`).inert = held;
};
const leaveCorrection = () => {
    const before = correcting;
    correcting = "";
    viewer.classList.remove("correcting");
    holdOthers(false);
    dragging("crosshair");
    choosePlane(before);
    showZoom(nv.scene.pan2Dxyzmm);
};
const rememberPlane = () => {
    const [, x, y] = nv.volumes[0].dimsRAS, start = (slice - 1) * x * y;
    strokes.push({start, plane: nv.drawBitmap.slice(start, start + x * y)});
};
const drawHere = () => {
    rememberPlane();
    nv.drawPenAxCorSag = PLANES.axial;
    nv.drawPt(...nv.frac2vox(nv.scene.crosshairPos), PENS[drag]);
    nv.refreshDrawing(true);
    report();
};
const corrections = {
    start() {
        correcting = plane;
        strokes = [];
        viewer.classList.add("correcting");
        holdOthers(true);
        nv.opts.penSize = Number(sizeInput.value);
        choosePlane("axial");
        dragging("brush");
        showZoom(nv.scene.pan2Dxyzmm);
    },
    undo() {
        const stroke = strokes.pop();
        if (!stroke) return;
        nv.drawBitmap.set(stroke.plane, stroke.start);
        nv.refreshDrawing(true);
        report();
    },
    cancel() {
        leaveCorrection();
        drawMask(shown);
    },
    async use() {
        const {study} = shown, drawn = nv.drawBitmap;
        leaveCorrection();
        if (strokes.length) trigger("corrected", {correction: {study, mask: await pack(drawn)}});
    },
    discard: () => trigger("discarded", {}),
};
sizeInput.addEventListener("input", () => { if (nv) nv.opts.penSize = Number(sizeInput.value); });
canvas.addEventListener("pointerdown", event => {
    if (drag in PENS && !event.button) rememberPlane();
});

// Window and level, in the file's own units. NiiVue's own dragging draws at every step of the mouse, which a
// computer without a graphics card cannot keep up with.
let windowing = false;
const setWindow = (black, white) => {
    Object.assign(nv.volumes[0], {cal_min: black, cal_max: white});
    showWindow();
    if (windowing) return;
    windowing = true;
    requestAnimationFrame(() => {
        windowing = false;
        if (!nv.volumes.length) return;
        nv.refreshLayers(nv.volumes[0], 0);
        nv.drawScene();
    });
};
const showWindow = () => {
    const {cal_min, cal_max, global_min, global_max} = nv.volumes[0], range = global_max - global_min;
    Object.assign(widthInput, {min: range / 500, max: range, value: cal_max - cal_min});
    Object.assign(levelInput, {min: global_min, max: global_max, value: (cal_max + cal_min) / 2});
    widthInput.ariaValueText = (cal_max - cal_min).toPrecision(3);
    levelInput.ariaValueText = ((cal_max + cal_min) / 2).toPrecision(3);
};
const setWidth = (width, level) => setWindow(level - width / 2, level + width / 2);
viewer.querySelector(".windows").addEventListener("input", () => {
    if (nv?.volumes.length) setWidth(Number(widthInput.value), Number(levelInput.value));
});
canvas.addEventListener("pointermove", event => {
    const wanted = event.buttons === 2 || event.buttons === 1 && (drag === "windowing" || event.ctrlKey);
    if (!wanted || !focused() || !nv?.volumes.length) return;
    const {cal_min, cal_max, global_min, global_max} = nv.volumes[0], step = (global_max - global_min) / 400;
    setWidth(Math.max(cal_max - cal_min + event.movementX * step, step), (cal_max + cal_min) / 2 - event.movementY * step);
});

// NiiVue gets wheel, touch and keys only while the picture has the focus, so that the page can be scrolled.
const stage = canvas.parentElement, focused = () => document.activeElement === canvas;
stage.addEventListener("wheel", event => {
    if (focused() && !event.ctrlKey) return;
    event.stopPropagation();
    if (!focused()) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? STEP : 1 / STEP);
}, {capture: true, passive: false});
for (const name of ["touchstart", "touchmove", "touchend"])
    stage.addEventListener(name, event => { if (!focused() && !(drag in PENS)) event.stopPropagation(); }, {capture: true, passive: false});
canvas.addEventListener("pointerdown", event => { if (event.pointerType === "mouse") canvas.focus({preventScroll: true}); });
canvas.addEventListener("click", () => canvas.focus({preventScroll: true}));
const MOVES = { // key → [in the plane to the picture's right, up, through the slices]
    ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
    PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};
const AXES = { // what these are in voxels to the patient's right, front and top
    axial: ([right, up, through]) => [-right, up, through],
    coronal: ([right, up, through]) => [-right, through, up],
    sagittal: ([right, up, through]) => [through, right, up],
};
stage.addEventListener("keydown", event => {
    event.stopPropagation();
    if (event.key === "Escape") canvas.blur();
    if (correcting && event.key === "z" && (event.ctrlKey || event.metaKey)) corrections.undo();
    if (!nv?.volumes.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key];
    if (move && plane === "render") {
        nv.setRenderAzimuthElevation(nv.scene.renderAzimuth + 5 * move[0], nv.scene.renderElevation + 5 * move[1]);
    } else if (move) nv.moveCrosshairInVox(...(AXES[plane] ?? AXES.axial)(move));
    else if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (event.key === "0") reset();
    else if (event.key === " " && drag in PENS) drawHere();
    else return;
    event.preventDefault();
}, true);
stage.addEventListener("keyup", event => event.stopPropagation(), true);
viewer.niivue = () => nv; // for tests
