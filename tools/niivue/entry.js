// What the page uses of NiiVue; it becomes the global `niivue`.
export {DRAG_MODE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE, cmapper} from "@niivue/niivue";
