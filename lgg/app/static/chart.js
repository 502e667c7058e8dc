// Runs once with `element` and `trigger` from Gradio: clicks and arrow keys in the plot ask for a slice, and a
// slice that was chosen elsewhere is marked. On a phone the plot is folded at first; drawn anew, it stays as it was.
const picks = () => [...element.querySelectorAll("[data-slice]")];
const go = button => {
    const slice = Number(button.dataset.slice);
    document.dispatchEvent(new CustomEvent("slice-chosen", {detail: slice}));
    trigger("select", {slice});
};
document.addEventListener("slice-chosen", event => {
    for (const pick of picks()) {
        const here = Number(pick.dataset.slice) === event.detail;
        pick.tabIndex = here ? 0 : -1;
        here ? pick.setAttribute("aria-current", "true") : pick.removeAttribute("aria-current");
    }
});
element.addEventListener("click", event => {
    const button = event.target.closest("[data-slice]");
    if (button) go(button);
});
element.addEventListener("keydown", event => {
    const all = picks(), at = all.indexOf(event.target.closest("[data-slice]"));
    if (at < 0) return;
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, Home: 0,
        End: all.length - 1, PageDown: at - 10, PageUp: at + 10}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const button = all[Math.min(Math.max(to, 0), all.length - 1)];
    button.focus();
    go(button);
});
let unfolded = !matchMedia("(max-width: 800px)").matches;
const fold = () => requestAnimationFrame(() => {
    const along = element.querySelector(".along");
    if (along) along.open = unfolded;
});
element.addEventListener("click", event => {
    const along = event.target.closest(".along > summary")?.parentElement;
    if (along) unfolded = !along.open;
});
watch("value", fold);
