// Runs once with `element` and `trigger` from Gradio: clicks and arrow keys in the plot ask for a slice.
const picks = () => [...element.querySelectorAll("[data-slice]")];
const go = button => {
    for (const pick of picks()) {
        pick.tabIndex = pick === button ? 0 : -1;
        pick === button ? pick.setAttribute("aria-current", "true") : pick.removeAttribute("aria-current");
    }
    trigger("select", {slice: Number(button.dataset.slice)});
};
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
