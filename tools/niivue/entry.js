// What the page uses of NiiVue; it becomes the global `niivue`.
export {DRAG_MODE, NVImage, Niivue, cmapper} from "@niivue/niivue";
