() => setTimeout(() => {
    const save = document.querySelector("a#series-save, #series-save a, button#series-save");
    if (save && save.offsetParent) save.click();
}, 200)
