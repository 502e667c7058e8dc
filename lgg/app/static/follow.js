(...values) => {
    for (const pick of document.querySelectorAll(".slice-chart [data-slice]")) {
        const here = Number(pick.dataset.slice) === values[0];
        pick.tabIndex = here ? 0 : -1;
        here ? pick.setAttribute("aria-current", "true") : pick.removeAttribute("aria-current");
    }
    return values;
}
