(...values) => {
    const result = document.getElementById("NAME"), top = result.getBoundingClientRect().top;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (top < 0 || top > innerHeight / 2) result.scrollIntoView({behavior: calm ? "auto" : "smooth"});
    return values;
}
